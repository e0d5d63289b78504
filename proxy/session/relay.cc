#include "proxy/session/relay.h"

#include <algorithm>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "proxy/session/side_end.h"

namespace pgveil::proxy {

std::optional<Relay::End> Relay::advance(Scratch& scratch) {
  const auto to_client_before = to_client_.bytes;
  const auto to_server_before = to_server_.bytes;
  // The server first: if both have ended, its last words are what the client should still read.
  auto server = move(to_client_, scratch);
  const auto client = advance_to_server(scratch);
  // No event tells of what TLS has failed to encrypt.
  if (server == Stream::Status::blocked && to_server_.bytes != to_server_before && to_client_.from.holds())
    server = move(to_client_, scratch);
  // A server closes because its client has: then it was the client that ended the session.
  if (client_ended_)
    return server != Stream::Status::blocked || to_client_.to.write_broken()
               ? std::optional(End::client_closed)
               : std::nullopt;
  if (server == Stream::Status::blocked) {
    if (client == Stream::Status::failed) return End::client_lost;
    // The client is gone, and what it sent before waits for the server: PostgreSQL would end here, too.
    if (to_server_.paused && to_client_.to.write_broken() && to_client_.bytes != to_client_before)
      return End::client_lost;
    return std::nullopt;
  }
  if (server == Stream::Status::failed) return End::server_lost;
  return client_terminated() ? End::client_closed : End::server_closed;
}

Stream::Status Relay::advance_to_server(Scratch& scratch) {
  if (client_ended_) {
    // Nothing counts after its end, but what is left unread, the FIN after close_notify above all, would
    // wake us again and again until the server has answered.
    if (to_server_.from.readable()) static_cast<void>(to_server_.from.read(scratch, read_size_));
    return Stream::Status::blocked;
  }
  const auto status = move(to_server_, scratch);
  return status == Stream::Status::ended ? end_client(scratch) : status;
}

// Tells the server that its client has ended.
Stream::Status Relay::end_client(Scratch& scratch) {
  client_ended_ = true;
  const SideEnd end{.in_message = to_server_.boundary.in_message(),
                    .was_announced = client_terminated(),
                    .close_notify = to_server_.from.close_notify()};
  to_server_.to.finish(scratch, end.is_cut_off() ? Stream::Finish::cut_off : Stream::Finish::complete);
  return Stream::Status::blocked;
}

bool Relay::client_terminated() const {
  const auto& boundary = to_server_.boundary;
  return boundary.at_boundary() && boundary.last_type() == protocol::kTerminate;
}

bool Relay::server_gave_up() const {
  const auto& boundary = to_client_.boundary;
  return boundary.at_boundary() && boundary.last_type() == protocol::kErrorResponse && !server_goes_on_;
}

Stream::Status Relay::move(Direction& direction, Scratch& scratch) {
  if (direction.paused) {
    if (direction.to.unwritten() > direction.resume_below) return Stream::Status::blocked;
    direction.paused = false;
    direction.from.resume_reading();
  }
  for (int reads = 0; may_read(direction.from, reads); ++reads) {
    const auto read = direction.from.read(scratch, read_size_);
    if (read.status != Stream::Status::bytes) return read.status;
    direction.bytes += read.bytes.size();
    direction.unanswered += read.bytes.size();
    direction.boundary.follow(read.bytes);
    const bool is_to_client = &direction == &to_client_;
    if (is_to_client && direction.boundary.last_type() == protocol::kErrorResponse)
      note_server_error(read.bytes);
    note_bulk(direction, is_to_client ? to_server_ : to_client_);
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

// For the log, if it was the last message of the server. One that did not come in one read is not looked
// into.
void Relay::note_server_error(ByteView bytes) {
  server_goes_on_ = false;
  server_sqlstate_.clear();
  const auto size = to_client_.boundary.last_size();
  if (!to_client_.boundary.at_boundary() || size > bytes.size()) return;
  const auto fields = protocol::decode_error_fields(
      bytes.last(static_cast<std::size_t>(size)).subspan(protocol::kMessageHeaderBytes));
  if (!fields) return;
  server_goes_on_ = fields->severity == "ERROR";
  if (fields->sqlstate.size() == 5) server_sqlstate_ = fields->sqlstate;
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
