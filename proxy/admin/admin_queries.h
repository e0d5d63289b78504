// The protocol of one client of the admin database: the simple and the extended query protocol, from bytes to bytes. Statements
// have no parameters. Source: PostgreSQL 18, "Message Flow".
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/message.h"
#include "protocol/startup.h"
#include "proxy/admin/admin_statements.h"

namespace pgveil::proxy {

class AdminQueries {
 public:
  enum class Progress {
    waiting,   // for more bytes
    answered,  // one message was consumed
    ended,  // the client has ended the session, or has violated the protocol: `out` may have the last message
  };

  // `statements` must outlive the object.
  explicit AdminQueries(const AdminStatements& statements) : statements_(statements) {}

  // Consumes the next message from the front of `in`: first the StartupMessage, which pgveil itself has made.
  [[nodiscard]] Progress take(protocol::ByteReader& in, protocol::Bytes& out);
  // Whether statements of the last message are to be run: take() must be called again, also without further bytes.
  [[nodiscard]] bool has_statements() const { return !statements_left_.empty(); }

 private:
  // A statement that Bind has made ready.
  struct Portal {
    std::string statement;
    std::vector<bool> binary_results;               // for each column, or for all of them; empty: text
    std::optional<AdminStatements::Result> result;  // once it was run
    std::size_t sent = 0;                           // rows of it
  };
  using Error = std::optional<protocol::ErrorFields>;

  [[nodiscard]] Progress start(protocol::ByteReader& in, protocol::Bytes& out);
  void greet(const protocol::StartupMessage& startup, protocol::Bytes& out) const;
  [[nodiscard]] Progress take_message(const protocol::Message& message, protocol::Bytes& out);
  void run_next_statement(protocol::Bytes& out);
  void query(protocol::ByteView body, protocol::Bytes& out);
  [[nodiscard]] Error extended(const protocol::Message& message, protocol::Bytes& out);
  [[nodiscard]] Error parse(protocol::ByteReader body, protocol::Bytes& out);
  [[nodiscard]] Error bind(protocol::ByteReader body, protocol::Bytes& out);
  [[nodiscard]] Error describe(protocol::ByteReader body, protocol::Bytes& out);
  [[nodiscard]] Error run(Portal& portal);
  [[nodiscard]] Error execute(protocol::ByteReader body, protocol::Bytes& out);
  [[nodiscard]] Error close(protocol::ByteReader body, protocol::Bytes& out);

  const AdminStatements& statements_;
  AdminStatements::Client client_;
  bool has_started_ = false;
  std::deque<std::string> statements_left_;  // of the last Query
  bool skips_to_sync_ = false;               // after an error in the extended query protocol
  std::map<std::string, std::string, std::less<>> prepared_;
  std::map<std::string, Portal, std::less<>> portals_;
};

}  // namespace pgveil::proxy
