#include "proxy/relay.h"

#include <algorithm>
#include <array>

#include "protocol/frontend.h"

namespace pgveil::proxy {
namespace {

// One bulk session must not starve the others of its worker: after this many full reads the loop goes round.
constexpr int kMaxRounds = 4;

bool ends_with_terminate(ByteView bytes) {
  constexpr std::array<std::uint8_t, 5> kMessage{protocol::kTerminate, 0, 0, 0, 4};
  return bytes.size() >= kMessage.size() && std::ranges::equal(bytes.last(kMessage.size()), kMessage);
}

}  // namespace

std::optional<Relay::End> Relay::advance(Scratch& scratch) {
  // The server first: where both have ended, its last words are what the client should still read.
  const auto server = move(to_client_, scratch);
  if (client_ended_) {
    // Nothing counts behind its end, but what is left unread, the FIN behind close_notify above all, would
    // wake us again and again until the server has answered.
    if (to_server_.from.readable()) static_cast<void>(to_server_.from.read(scratch, read_size_));
  } else {
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
  if (server != Stream::Status::ended) return std::nullopt;
  return client_terminates_ ? End::client_closed : End::server_closed;
}

Stream::Status Relay::move(Direction& direction, Scratch& scratch) {
  if (direction.paused) {
    // One that has ended its side only may still be reading.
    if (direction.from.peer_gone() && direction.to.write_broken()) return Stream::Status::failed;
    if (direction.to.unwritten() > direction.resume_below) return Stream::Status::blocked;
    direction.paused = false;
    direction.from.resume_reading();
  }
  for (int round = 0; round < kMaxRounds && direction.from.readable(); ++round) {
    const auto read = direction.from.read(scratch, read_size_);
    if (read.status != Stream::Status::bytes) return read.status;
    direction.bytes += read.bytes.size();
    direction.unanswered += read.bytes.size();
    if (&direction == &to_client_) {
      boundary_.follow(read.bytes);
    } else {
      client_terminates_ = ends_with_terminate(read.bytes);
    }
    note_bulk(direction, &direction == &to_client_ ? to_server_ : to_client_);
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

// A side that waits for answers must never wait for more bytes to come, so an answer ends bulk.
void Relay::note_bulk(Direction& direction, Direction& other) {
  other.unanswered = 0;
  end_bulk(other);
  if (direction.in_bulk || direction.unanswered < kBulk) return;
  direction.in_bulk = true;
  direction.looked_at = direction.bytes;
  direction.from.wake_at(std::min(kBulkPiece, read_size_ / 2));
}

void Relay::look_after_bulk() {
  for (Direction* direction : {&to_server_, &to_client_}) {
    if (direction->looked_at == direction->bytes) end_bulk(*direction);
    direction->looked_at = direction->bytes;
  }
}

void Relay::end_bulk() {
  end_bulk(to_server_);
  end_bulk(to_client_);
}

void Relay::end_bulk(Direction& direction) {
  if (!direction.in_bulk) return;
  direction.in_bulk = false;
  direction.unanswered = 0;
  direction.from.wake_at(1);
}

}  // namespace pgveil::proxy
