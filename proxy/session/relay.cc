#include "proxy/session/relay.h"

#include <algorithm>
#include <ctime>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "protocol/sqlstate.h"
#include "proxy/session/side_end.h"

namespace pgveil::proxy {

namespace {

// A side may be paused several times for each MiB, and this clock costs a third of the exact one.
std::chrono::nanoseconds coarse_time() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

void Relay::follow_to_client(ByteView bytes) {
  to_client_.boundary.follow(bytes, [this](char type, std::uint8_t last_byte) {
    ++to_client_.messages;
    transactions_.on_backend_message(type, last_byte);
  });
}

void Relay::follow_to_server(ByteView bytes) {
  to_server_.boundary.follow(bytes, [this](char type, std::uint8_t /*last_byte*/) {
    ++to_server_.messages;
    transactions_.on_frontend_message(type);
  });
}

std::optional<Relay::End> Relay::advance(Scratch& scratch) {
  const auto to_client_before = to_client_.bytes;
  const auto to_server_before = to_server_.bytes;
  // The server's bytes are forwarded first: if both sides have ended, the client still receives the server's
  // last message.
  auto server = move(to_client_, scratch);
  const auto client = advance_to_server(scratch);
  // There is no wake-up for a failure to encrypt, so the stream is checked again.
  if (server == Stream::Status::blocked && to_server_.bytes != to_server_before && to_client_.from.holds())
    server = move(to_client_, scratch);
  if (client_ended_) return end_after_client(server);
  if (server != Stream::Status::blocked) return end_of_server(server);
  if (client == Stream::Status::failed) return End::client_lost;
  // The client is gone, and its last bytes wait until the server reads. PostgreSQL would end the session here, too.
  if (to_server_.paused && to_client_.to.write_broken() && to_client_.bytes != to_client_before)
    return End::client_lost;
  return std::nullopt;
}

// Returns the end of a session whose server has ended its side.
Relay::End Relay::end_of_server(Stream::Status server) const {
  if (server == Stream::Status::failed) return End::server_lost;
  return client_terminated() && !server_fell_short() ? End::client_closed : End::server_closed;
}

// Returns the end of a session whose client has ended its side.
std::optional<Relay::End> Relay::end_after_client(Stream::Status server) const {
  if (to_client_.to.write_broken()) return End::client_closed;
  if (server == Stream::Status::blocked) return std::nullopt;
  if (!server_fell_short()) return End::client_closed;
  return server == Stream::Status::failed ? End::server_lost : End::server_closed;
}

// Returns whether the server has ended before it has answered a client that has ended the session. A server that notices during a
// statement that its client is gone (client_connection_check_interval) does not count: it sends no error, and over TLS
// close_notify.
bool Relay::server_fell_short() const {
  if (in_message_to_client()) return true;
  const bool noticed_client =
      !server_gave_up() && to_client_.from.close_notify() == Stream::CloseNotify::received;
  return transactions_.owes_answer() && !noticed_client;
}

Stream::Status Relay::advance_to_server(Scratch& scratch) {
  if (client_ended_) return drop_from_client(scratch);
  const auto status = move(to_server_, scratch);
  return status == Stream::Status::ended ? end_client(scratch) : status;
}

// Drops bytes after the client's end. Unread, they (most often the FIN after close_notify) would cause a wake-up in every turn of the
// loop until the server has answered.
Stream::Status Relay::drop_from_client(Scratch& scratch) {
  if (to_server_.from.readable()) static_cast<void>(to_server_.from.read(scratch, read_size_));
  return Stream::Status::blocked;
}

// Passes the end of the client on to the server.
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

Traffic Relay::traffic() const {
  return {.to_client = traffic(to_client_),
          .to_server = traffic(to_server_),
          .client_leg = to_client_.to.wire_bytes(),
          .server_leg = to_server_.to.wire_bytes()};
}

Traffic::Direction Relay::traffic(const Direction& direction) {
  const auto pause = direction.paused ? coarse_time() - direction.paused_since : std::chrono::nanoseconds(0);
  return {
      .bytes = direction.bytes, .messages = direction.messages, .paused = direction.paused_before + pause};
}

Stream::Status Relay::move(Direction& direction, Scratch& scratch) {
  if (direction.paused) {
    if (direction.to.unwritten() > direction.resume_below) return Stream::Status::blocked;
    direction.paused = false;
    direction.paused_before += coarse_time() - direction.paused_since;
    direction.from.resume_reading();
  }
  for (int reads = 0; may_read(direction.from, reads); ++reads) {
    const auto read = direction.from.read(scratch, read_size_);
    if (read.status != Stream::Status::bytes) return read.status;
    direction.bytes += read.bytes.size();
    direction.unanswered += read.bytes.size();
    const bool is_to_client = &direction == &to_client_;
    if (is_to_client)
      follow_to_client(read.bytes);
    else
      follow_to_server(read.bytes);
    if (is_to_client && direction.boundary.last_type() == protocol::kErrorResponse)
      note_server_error(read.bytes);
    note_bulk(direction, is_to_client ? to_server_ : to_client_);
    direction.to.write(scratch, read.bytes);
    if (const auto waiting = direction.to.unwritten(); waiting > 0) {
      direction.paused = true;
      direction.paused_since = coarse_time();
      direction.resume_below = waiting / 2;
      direction.from.pause_reading();
      break;
    }
  }
  return Stream::Status::blocked;
}

// Stores severity and SQLSTATE of an ErrorResponse, in case it is the last message of the server. A message
// that did not arrive in one read is not decoded.
void Relay::note_server_error(ByteView bytes) {
  server_goes_on_ = false;
  server_sqlstate_.clear();
  const auto size = to_client_.boundary.last_size();
  if (!to_client_.boundary.at_boundary() || size > bytes.size()) return;
  const auto fields = protocol::decode_error_fields(
      bytes.last(static_cast<std::size_t>(size)).subspan(protocol::kMessageHeaderBytes));
  if (!fields) return;
  server_goes_on_ = fields->severity == "ERROR";
  if (protocol::sqlstate::is_well_formed(fields->sqlstate)) server_sqlstate_ = fields->sqlstate;
}

void Relay::begin_bulk(Direction& direction) const {
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
