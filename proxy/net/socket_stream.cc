#include "proxy/net/socket_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "proxy/net/poll_watch.h"
#include "proxy/net/ring_watch.h"

namespace pgveil::proxy {

tl::expected<WatchedSocket, int> watch_socket(uv_loop_t* loop, Descriptor descriptor) {
  auto poll = std::make_unique<uv_poll_t>();
  if (const int status = uv_poll_init(loop, poll.get(), descriptor.get()); status != 0)
    return tl::unexpected(-status);
  return WatchedSocket{std::move(descriptor), Handle<uv_poll_t>(poll.release())};
}

SocketStream::SocketStream(WatchedSocket socket, Wakeable& owner, bool readable)
    : watch_(std::make_unique<PollWatch>(std::move(socket.poll), static_cast<SocketWatch::Client&>(*this))),
      descriptor_(socket.descriptor.release()),
      owner_(&owner),
      readable_(readable) {
  watch();
}

SocketStream::~SocketStream() {
  watch_.reset();  // removes the descriptor from the poll set before it is closed
  ::close(descriptor_);
}

Stream::Read SocketStream::read(Scratch& scratch, std::size_t most) {
  if (status_ != Status::blocked) return {status_, {}};
  const auto read = receive(std::span(scratch.incoming).first(std::min(most, scratch.incoming.size())));
  wire_bytes_.received += read.bytes.size();
  if (watch_moves_bytes_ || read.status != Status::bytes) watch();
  return read;
}

Stream::Read SocketStream::receive(std::span<std::uint8_t> room) {
  std::size_t size = 0;
  if (watch_moves_bytes_) {
    const auto taken = watch_->take(room);
    size = taken.size;
    readable_ = taken.may_have_more;
    if (!readable_ || size == room.size())
      return {size > 0 ? Status::bytes : Status::blocked, room.first(size)};
  }
  const ssize_t received = ::recv(descriptor_, room.data() + size, room.size() - size, 0);
  if (received > 0) {
    size += static_cast<std::size_t>(received);
    if (size < room.size()) readable_ = false;  // a short read has emptied the socket: no recv() for EAGAIN
    return {Status::bytes, room.first(size)};
  }
  if (received == 0) {
    if (size > 0) return {Status::bytes, room.first(size)};  // the next read finds the end again
    // After the kernel has reported an error once, it reports an end.
    if (errno_ != 0) {
      note_broken();
    } else {
      status_ = Status::ended;
    }
  } else if (errno != EAGAIN && errno != EINTR) {
    errno_ = errno;
    note_broken();
  }
  readable_ = false;
  if (size > 0) return {Status::bytes, room.first(size)};
  return {status_, {}};
}

void SocketStream::write(Scratch& /*scratch*/, ByteView bytes) {
  if (write_broken_ || finishing_) return;
  wire_bytes_.sent += bytes.size();
  if (watch_moves_bytes_ && unwritten() == 0) {
    if (watch_->send(bytes)) return;
    send_or_keep(watch_->take_back());
  }
  send_or_keep(bytes);
}

void SocketStream::send_or_keep(ByteView bytes) {
  if (write_broken_ || bytes.empty()) return;
  if (unwritten() == 0) bytes = bytes.subspan(send_now(bytes));
  if (bytes.empty() || write_broken_) return;
  unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
  watch();
}

void SocketStream::pause_reading() {
  if (paused_) return;
  paused_ = true;
  watch();
}

void SocketStream::resume_reading() {
  if (!paused_) return;
  paused_ = false;
  watch();
}

// With a new SO_RCVLOWAT, the kernel checks the unread bytes again (tcp_set_rcvlowat()), so that a lower number
// reports bytes that have already arrived.
void SocketStream::wake_at(std::size_t bytes) {
  const int least = static_cast<int>(bytes);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);
  watch_->on_low_watermark(bytes);
}

void SocketStream::finish(Scratch& /*scratch*/, Finish /*how*/) {
  if (finishing_) return;
  send_or_keep(watch_->take_back());
  finishing_ = true;
  if (unwritten() == 0) ::shutdown(descriptor_, SHUT_WR);
}

void SocketStream::move_to(Ring& ring) {
  watch_ = std::make_unique<RingWatch>(ring, descriptor_, static_cast<SocketWatch::Client&>(*this));
  watch_moves_bytes_ = watch_->moves_bytes();
  watch();
}

std::string SocketStream::error() const {
  return errno_ == 0 ? "" : std::strerror(errno_);
}

void SocketStream::on_readable() {
  readable_ = true;
  const bool is_wanted = wants_bytes();
  if (watch_moves_bytes_ || !is_wanted) watch();
  if (is_wanted) owner_->wake();  // may destroy this stream
}

void SocketStream::on_events(const Events& events) {
  if (events.failed) note_failed_poll();
  const bool is_news = wants_bytes() || !events.readable || events.room || events.gone || events.error != 0;
  if (events.readable) readable_ = true;
  if (events.error != 0) {
    errno_ = events.error;
    note_broken();
  }
  if (events.gone) note_end_while_paused();
  if (events.room) flush();
  watch();
  if (is_news) owner_->wake();  // may destroy this stream
}

// Bytes that arrived before the error must still be read: they may be the server's last message. While reading is
// paused, the owner is woken for the error itself.
void SocketStream::note_failed_poll() {
  readable_ = true;
  if (paused_) {
    note_end_while_paused();
  } else if (unwritten() > 0) {
    flush();  // finds the error and drops the unsent bytes, so that the event does not repeat
  }
}

// After an error, read() reports that the connection broke, after the bytes that arrived before.
void SocketStream::on_unsent(ByteView rest, int error) {
  if (error != 0) {
    note_error(error);
    give_up_writing();
    return;
  }
  try {
    unsent_.assign(rest.begin(), rest.end());
  } catch (const std::bad_alloc&) {
    return note_out_of_memory();
  }
  watch();
}

// The unsent bytes are lost, so this connection fails. Other sessions continue.
void SocketStream::note_out_of_memory() {
  errno_ = ENOMEM;
  note_broken();
}

// The peer sends nothing more: it has ended its side, or closed the socket (only a Unix socket shows the difference),
// or the connection broke. In each case there may be unread bytes.
void SocketStream::note_end_while_paused() {
  peer_gone_ = true;
  readable_ = true;
  look_for_break();
}

void SocketStream::look_for_break() {
  pollfd now{.fd = descriptor_, .events = 0, .revents = 0};
  if (::poll(&now, 1, 0) <= 0) return;
  // POLLHUP: both sides have ended. finish() may have ended pgveil's side.
  if ((now.revents & POLLERR) == 0 && finishing_) return;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size);
  note_error(error);
  give_up_writing();
}

// The kernel reports an error once. EPIPE is not kept: it follows a regular end, if the peer has closed the socket
// and pgveil still sends.
void SocketStream::note_error(int error) {
  if (errno_ == 0 && error != EPIPE) errno_ = error;
}

// The peer's last message may still be unread, so read() reports that the connection broke, after that message.
void SocketStream::give_up_writing() {
  write_broken_ = true;
  readable_ = true;
  unsent_ = std::vector<std::uint8_t>();
  sent_ = 0;
}

void SocketStream::note_broken() {
  give_up_writing();
  status_ = Status::failed;
}

void SocketStream::watch() {
  watch_->set_interest({.bytes = wants_bytes(),
                        .paused = status_ == Status::blocked,
                        .end = !peer_gone_,
                        .room = unwritten() > 0,
                        .drained = !readable_});
}

// Returns how many bytes the kernel accepted. If the connection broke, read() reports it, after the peer's last
// message.
std::size_t SocketStream::send_now(ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return 0;
    note_error(errno);
    write_broken_ = true;  // give_up_writing() would free `bytes`, which may belong to unsent_
    readable_ = true;
    return 0;
  }
  return 0;
}

void SocketStream::flush() {
  sent_ += send_now(ByteView(unsent_).subspan(sent_));
  if (unwritten() == 0 || write_broken_) {
    unsent_ = std::vector<std::uint8_t>();  // an idle session holds no buffer; `= {}` would keep the memory
    sent_ = 0;
    if (finishing_) ::shutdown(descriptor_, SHUT_WR);
  } else if (sent_ >= unsent_.size() / 2) {
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
}

}  // namespace pgveil::proxy
