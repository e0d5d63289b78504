#include "proxy/socket_stream.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace pgveil::proxy {

SocketStream::SocketStream(uv_loop_t* loop, int descriptor, Wakeable& owner)
    : descriptor_(descriptor), owner_(&owner), poll_(new uv_poll_t) {
  // Fails only for a descriptor that cannot be polled, which a socket always can.
  [[maybe_unused]] const int result = uv_poll_init(loop, poll_.get(), descriptor_);
  assert(result == 0);
  poll_->data = this;
  watch();
}

SocketStream::~SocketStream() {
  poll_.reset();  // takes the descriptor out of the poll set before it is closed
  ::close(descriptor_);
}

Stream::Read SocketStream::read(Scratch& scratch, std::size_t most) {
  if (status_ != Status::blocked) return {status_, {}};
  const std::size_t room = std::min(most, scratch.incoming.size());
  const ssize_t received = ::recv(descriptor_, scratch.incoming.data(), room, 0);
  if (received > 0) {
    const auto size = static_cast<std::size_t>(received);
    if (size < room) readable_ = false;  // a short read means drained: no second one to see EAGAIN
    return {Status::bytes, ByteView(scratch.incoming).first(size)};
  }
  readable_ = false;
  if (received == 0) {
    status_ = Status::ended;
  } else if (errno == EAGAIN || errno == EINTR) {
    return {Status::blocked, {}};
  } else {
    errno_ = errno;
    note_broken();
  }
  watch();
  return {status_, {}};
}

void SocketStream::write(Scratch& /*scratch*/, ByteView bytes) {
  if (write_broken_ || finishing_) return;
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

void SocketStream::finish(Scratch& /*scratch*/) {
  if (finishing_) return;
  finishing_ = true;
  if (unwritten() == 0) ::shutdown(descriptor_, SHUT_WR);
}

std::string SocketStream::error() const {
  return errno_ == 0 ? "" : std::strerror(errno_);
}

void SocketStream::on_poll(uv_poll_t* poll, int status, int events) {
  auto& self = *static_cast<SocketStream*>(poll->data);
  if (status < 0) {
    // EPOLLERR: libuv has stopped the handle. What came before the error can still be read, and must be: it
    // may be the server's last words. While paused nobody would read, so the error itself is the news.
    self.watched_events_ = 0;
    self.readable_ = true;
    if (self.paused_) {
      socklen_t size = sizeof self.errno_;
      ::getsockopt(self.descriptor_, SOL_SOCKET, SO_ERROR, &self.errno_, &size);
      self.note_broken();
    }
  }
  if ((events & UV_READABLE) != 0) self.readable_ = true;
  if ((events & UV_DISCONNECT) != 0) self.peer_gone_ = true;
  if ((events & UV_WRITABLE) != 0) self.flush();
  self.watch();
  self.owner_->wake();
}

void SocketStream::note_broken() {
  status_ = Status::failed;
  write_broken_ = true;
  readable_ = true;
  unsent_.clear();
  sent_ = 0;
}

// Asks for exactly the events that somebody waits for. DISCONNECT is level-triggered too: once seen it is not
// asked for again.
void SocketStream::watch() {
  int events = 0;
  if (status_ == Status::blocked) {
    if (!paused_) events |= UV_READABLE;
    if (paused_ && !peer_gone_) events |= UV_DISCONNECT;
  }
  if (unwritten() > 0) events |= UV_WRITABLE;
  if (events == watched_events_) return;
  watched_events_ = events;
  if (events == 0) {
    uv_poll_stop(poll_.get());
  } else {
    uv_poll_start(poll_.get(), events, on_poll);
  }
}

// Returns how many bytes the kernel took. A broken connection is left to the reads: the peer's last words
// come first.
std::size_t SocketStream::send_now(ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return 0;
    write_broken_ = true;
    readable_ = true;
    return 0;
  }
  return 0;
}

void SocketStream::flush() {
  sent_ += send_now(ByteView(unsent_).subspan(sent_));
  if (unwritten() == 0 || write_broken_) {
    unsent_ = {};  // an idle session holds no buffer
    sent_ = 0;
    if (finishing_) ::shutdown(descriptor_, SHUT_WR);
  } else if (sent_ >= unsent_.size() / 2) {
    unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
}

}  // namespace pgveil::proxy
