// The relay of an established session: opaque bytes both ways, with backpressure. Message boundaries are
// followed, so that an end may put its ErrorResponse where the client expects a message, and so that the log
// can say whether a side ended inside a message.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "protocol/message.h"
#include "proxy/net/stream.h"

namespace pgveil::proxy {

class Relay {
 public:
  enum class End { client_closed, client_lost, server_closed, server_lost };

  // A side is in bulk once it has sent so much without anything having come from the other. From then on it
  // is read in larger pieces, for a server gives its bytes to the kernel in small ones, and to be woken for
  // each of them costs more than to pass it on.
  static constexpr std::uint64_t kBulk = std::uint64_t{8} << 20U;
  static constexpr std::size_t kBulkPiece = std::size_t{128} << 10U;
  static constexpr std::chrono::milliseconds kBulkPatience{1};

  // Both streams must outlive the relay. `read_size`: the most that one read takes.
  Relay(Stream& client, Stream& server, std::size_t read_size)
      : to_server_{client, server}, to_client_{server, client}, read_size_(read_size) {}

  // Moves what has come, a bounded amount in each direction. Returns the end of a side once everything that
  // it sent before has been passed on. A server that closes after a client's Terminate does as it was told:
  // then it is the client that ended the session, whoever's end came first.
  [[nodiscard]] std::optional<End> advance(Scratch& scratch);

  [[nodiscard]] bool in_bulk() const { return to_server_.in_bulk || to_client_.in_bulk; }
  // To be called every kBulkPatience while it is in bulk: the last piece may be a small one, so where none
  // has come since the last call, bulk is over.
  void look_after_bulk();
  void end_bulk();

  // One direction alone, for the login: the server's side of it is read message by message. Passes on the end
  // of the client, too. Returns `blocked`, or `failed` where the connection to the client broke.
  [[nodiscard]] Stream::Status advance_to_server(Scratch& scratch);

  // The client has ended its side, and the server was told; what it still answers is passed on until it ends
  // too.
  [[nodiscard]] bool client_ended() const { return client_ended_; }
  // The last message of the client was Terminate.
  [[nodiscard]] bool client_terminated() const;

  // For bytes that were passed on outside of the relay, in the login.
  void follow_to_client(ByteView bytes) { to_client_.boundary.follow(bytes); }
  void follow_to_server(ByteView bytes) { to_server_.boundary.follow(bytes); }
  // Whether a message may be put into what the client reads.
  [[nodiscard]] bool at_client_boundary() const { return to_client_.boundary.at_boundary(); }
  // Whether a message has begun and has not come as a whole.
  [[nodiscard]] bool in_message_to_client() const { return to_client_.boundary.in_message(); }
  [[nodiscard]] bool in_message_to_server() const { return to_server_.boundary.in_message(); }
  // The last message of the server was an ErrorResponse that ends the session.
  [[nodiscard]] bool server_gave_up() const;
  // The SQLSTATE of that message; empty where it is not known.
  [[nodiscard]] const std::string& server_sqlstate() const { return server_sqlstate_; }

  [[nodiscard]] std::uint64_t bytes_to_server() const { return to_server_.bytes; }
  [[nodiscard]] std::uint64_t bytes_to_client() const { return to_client_.bytes; }

 private:
  struct Direction {
    Stream& from;
    Stream& to;
    protocol::BoundaryTracker boundary = {};
    std::uint64_t bytes = 0;
    std::size_t resume_below = 0;  // while `from` is paused: go on once `to` holds no more than this
    bool paused = false;
    bool in_bulk = false;
    std::uint64_t unanswered = 0;  // bytes since the other direction had any
    std::uint64_t looked_at = 0;   // bytes, when bulk was looked after
  };

  [[nodiscard]] Stream::Status move(Direction& direction, Scratch& scratch);
  [[nodiscard]] Stream::Status end_client(Scratch& scratch);
  void note_server_error(ByteView bytes);

  void note_bulk(Direction& direction, Direction& other);
  static void end_bulk(Direction& direction);

  Direction to_server_;
  Direction to_client_;
  std::size_t read_size_;
  bool client_ended_ = false;
  bool server_goes_on_ = false;  // the last ErrorResponse of the server did not end the session
  std::string server_sqlstate_;
};

}  // namespace pgveil::proxy
