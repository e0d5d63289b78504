// The relay of an established session: opaque bytes both ways, with backpressure. Message boundaries are
// followed towards the client only, so that an end may put its ErrorResponse where the client expects a
// message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol/message.h"
#include "proxy/stream.h"

namespace pgveil::proxy {

class Relay {
 public:
  enum class End { client_closed, client_lost, server_closed, server_lost };

  // Both streams must outlive the relay. `read_size`: the most that one read takes.
  Relay(Stream& client, Stream& server, std::size_t read_size)
      : to_server_{client, server}, to_client_{server, client}, read_size_(read_size) {}

  // Moves what has come, a bounded amount in each direction. Answers the end of a side once everything that
  // it sent before has been passed on.
  [[nodiscard]] std::optional<End> advance(Scratch& scratch);

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
  };

  [[nodiscard]] Stream::Status move(Direction& direction, Scratch& scratch);

  Direction to_server_;
  Direction to_client_;
  std::size_t read_size_;
  bool client_ended_ = false;
  protocol::BoundaryTracker boundary_;
};

}  // namespace pgveil::proxy
