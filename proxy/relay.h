// The relay of an established session: opaque bytes both ways, with backpressure. Message boundaries are
// followed towards the client only, so that an end may put its ErrorResponse where the client expects a
// message.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol/message.h"
#include "proxy/stream.h"

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

  // Moves what has come, a bounded amount in each direction. Answers the end of a side once everything that
  // it sent before has been passed on. A server that closes behind a client's Terminate does as it was told:
  // then it is the client that ended the session, whoever's end came first.
  [[nodiscard]] std::optional<End> advance(Scratch& scratch);

  [[nodiscard]] bool in_bulk() const { return to_server_.in_bulk || to_client_.in_bulk; }
  // To be called every kBulkPatience while it is in bulk: the last piece may be a small one, so where none
  // has come since the last call, bulk is over.
  void look_after_bulk();
  void end_bulk();

  // One direction alone, for the login: the server's side of it is read message by message.
  [[nodiscard]] Stream::Status advance_to_server(Scratch& scratch) { return move(to_server_, scratch); }

  // The client has ended its side, and the server was told; what it still answers is passed on until it ends
  // too.
  [[nodiscard]] bool client_ended() const { return client_ended_; }

  // For bytes towards the client that were passed on outside of the relay (the end of the login).
  void follow_to_client(ByteView bytes) { boundary_.follow(bytes); }
  // Whether a message may be put into what the client reads.
  [[nodiscard]] bool at_client_boundary() const { return boundary_.at_boundary(); }

  [[nodiscard]] std::uint64_t bytes_to_server() const { return to_server_.bytes; }
  [[nodiscard]] std::uint64_t bytes_to_client() const { return to_client_.bytes; }

 private:
  struct Direction {
    Stream& from;
    Stream& to;
    std::uint64_t bytes = 0;
    std::size_t resume_below = 0;  // while `from` is paused: go on once `to` holds no more than this
    bool paused = false;
    bool in_bulk = false;
    std::uint64_t unanswered = 0;  // bytes since the other direction had any
    std::uint64_t looked_at = 0;   // bytes, when bulk was looked after
  };

  [[nodiscard]] Stream::Status move(Direction& direction, Scratch& scratch);

  void note_bulk(Direction& direction, Direction& other);
  static void end_bulk(Direction& direction);

  Direction to_server_;
  Direction to_client_;
  std::size_t read_size_;
  bool client_ended_ = false;
  bool client_terminates_ = false;  // the last that came from it looks like Terminate
  protocol::BoundaryTracker boundary_;
};

}  // namespace pgveil::proxy
