// Knows when a session is idle outside a transaction, from the types of the messages in both directions. A session that is
// idle can be ended without the loss of work: the client has sent nothing that the server has not answered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pgveil::protocol {

// The server answers Query, FunctionCall and Sync with ReadyForQuery, but not in these cases (postgres.c: PostgresMain,
// copyfromparse.c: CopyGetData): after an error of the extended protocol it ignores all messages until Sync, and during COPY FROM
// STDIN it ignores Sync. So a count of messages is not enough: the tracker keeps the messages that are not answered yet.
class TransactionTracker {
 public:
  // Begins after the ReadyForQuery that ends the login. Messages that the client has sent before it count, except for
  // those of the login itself, which have other types.
  TransactionTracker() = default;

  // The client's message `type` is complete.
  void on_frontend_message(char type) {
    if (type == 'Q' && tokens_.empty() && !ignores_until_sync_)
      ++queries_;  // the most common case
    else
      on_other_message(type);
  }
  // The server's message `type` is complete. `last_byte` is that of its body: the status of ReadyForQuery.
  void on_backend_message(char type, std::uint8_t last_byte) {
    // All others, such as DataRow, change nothing.
    if (type == 'Z' && queries_ > 0 && tokens_.empty() && !is_uncertain_ && !streams_) {
      --queries_;  // the most common case
      status_ = static_cast<char>(last_byte);
    } else if (type == 'Z' || type == 'E' || type == 'G' || type == 'W') {
      on_deciding_message(type, last_byte);
    }
  }

  // Returns true after a ReadyForQuery with status `I` that answers the client's last message. The caller has to know
  // whether a message of either side is incomplete.
  [[nodiscard]] bool is_idle() const { return status_ == 'I' && is_answered(); }
  // Returns whether the server is known to owe a ReadyForQuery: for a Query, FunctionCall or Sync. The end of its client
  // does not change that, except during COPY FROM STDIN.
  [[nodiscard]] bool owes_answer() const {
    return !copies_in_ && !streams_ && !is_uncertain_ &&
           (queries_ > 0 || tokens_.find_first_of("qs") != std::string::npos);
  }
  // Returns whether the server has answered the client's last message with ReadyForQuery, whatever its status.
  [[nodiscard]] bool is_answered() const {
    return queries_ == 0 && tokens_.empty() && !copies_in_ && !streams_ && !is_uncertain_;
  }

 private:
  void on_other_message(char type);
  void on_deciding_message(char type, std::uint8_t last_byte);
  void push(char token);
  void pop_through_answered();
  void on_error();
  void on_copy_in();
  void drop_stray();

  // The client's messages without an answer: first so many of Query, then these, oldest first: `q` for Query and
  // FunctionCall, `s` for Sync, `x` for one or more messages of the extended protocol, `c` for CopyDone and CopyFail.
  std::uint64_t queries_ = 0;
  std::string tokens_;
  char status_ = 'I';                // of the last ReadyForQuery
  bool copies_in_ = false;           // COPY FROM STDIN
  bool has_sync_in_copy_ = false;    // since it began
  bool streams_ = false;             // replication: CopyBothResponse
  bool ignores_until_sync_ = false;  // the server does, after an error
  bool is_uncertain_ = false;        // what is unanswered is not known
  bool is_lost_ = false;             // and will not be
};

}  // namespace pgveil::protocol
