#include "proxy/relay.h"

namespace pgveil::proxy {
namespace {

// One bulk session must not starve the others of its worker: after this many full reads the loop goes round.
constexpr int kMaxRounds = 4;

}  // namespace

std::optional<Relay::End> Relay::advance(Scratch& scratch) {
  // The server first: where both have ended, its last words are what the client should still read.
  const auto server = move(to_client_, scratch);
  if (!client_ended_) {
    const auto client = move(to_server_, scratch);
    if (client == Stream::Status::failed && server == Stream::Status::blocked) return End::client_lost;
    if (client == Stream::Status::ended) {
      client_ended_ = true;
      to_server_.to.finish(scratch);
    }
  }
  // A server closes because its client has: then it was the client that ended the session.
  if (client_ended_)
    return server != Stream::Status::blocked || to_client_.to.write_broken()
               ? std::optional(End::client_closed)
               : std::nullopt;
  if (server == Stream::Status::failed) return End::server_lost;
  return server == Stream::Status::ended ? std::optional(End::server_closed) : std::nullopt;
}

Stream::Status Relay::move(Direction& direction, Scratch& scratch) {
  if (direction.paused) {
    if (direction.from.peer_gone() && direction.to.peer_gone()) return Stream::Status::failed;
    if (direction.to.unwritten() > direction.resume_below) return Stream::Status::blocked;
    direction.paused = false;
    direction.from.resume_reading();
  }
  for (int round = 0; round < kMaxRounds && direction.from.readable(); ++round) {
    const auto read = direction.from.read(scratch, read_size_);
    if (read.status != Stream::Status::bytes) return read.status;
    direction.bytes += read.bytes.size();
    if (&direction == &to_client_) boundary_.follow(read.bytes);
    direction.to.write(scratch, read.bytes);
    if (const auto waiting = direction.to.unwritten(); waiting > 0) {
      direction.paused = true;
      direction.resume_below = waiting / 2;
      direction.from.pause_reading();
      break;
    }
  }
  return Stream::Status::blocked;
}

}  // namespace pgveil::proxy
