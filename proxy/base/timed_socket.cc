#include "proxy/base/timed_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace pgveil::proxy {
namespace {

using Clock = TimedSocket::Clock;
using Error = TimedSocket::Error;

// Waits until the socket is ready for `events`. Returns the error, if any.
std::optional<Error> wait_for(int descriptor, short events, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd poll{.fd = descriptor, .events = events, .revents = 0};
    const int ready = ::poll(&poll, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (ready > 0) return std::nullopt;
    if (ready == 0) return kNoAnswer;
    if (errno != EINTR) return std::strerror(errno);
  }
}

// The kernel does not report when the queue of a Unix socket has room again. For TCP the kernel waits.
constexpr std::chrono::milliseconds kQueuePause{10};

bool is_transient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

tl::expected<TimedSocket, Error> TimedSocket::connect(const KernelAddress& address,
                                                      Clock::time_point deadline) {
  Descriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return tl::unexpected<Error>(std::strerror(errno));
  while (::connect(socket.get(), address.get(), address.size) != 0) {
    if (errno == EAGAIN && Clock::now() + kQueuePause < deadline) {
      std::this_thread::sleep_for(kQueuePause);
      continue;
    }
    if (errno == EAGAIN) return tl::unexpected<Error>(kNoAnswer);
    if (errno != EINPROGRESS) return tl::unexpected<Error>(std::strerror(errno));
    if (auto error = wait_for(socket.get(), POLLOUT, deadline)) return tl::unexpected(*std::move(error));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return tl::unexpected<Error>(std::strerror(error));
    break;
  }
  return TimedSocket(std::move(socket), deadline);
}

std::optional<Error> TimedSocket::send(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && !is_transient(errno)) return std::strerror(errno);
    if (sent > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
      continue;
    }
    if (auto error = wait_for(descriptor_.get(), POLLOUT, deadline_)) return error;
  }
  return std::nullopt;
}

tl::expected<std::vector<std::uint8_t>, Error> TimedSocket::receive(std::size_t most) {
  std::vector<std::uint8_t> bytes(most);
  // Otherwise a server that never stops to send could not be late.
  if (Clock::now() >= deadline_) return tl::unexpected<Error>(kNoAnswer);
  for (;;) {
    const ssize_t size = ::recv(descriptor_.get(), bytes.data(), bytes.size(), 0);
    if (size >= 0) {
      bytes.resize(static_cast<std::size_t>(size));
      return bytes;
    }
    if (!is_transient(errno)) return tl::unexpected<Error>(std::strerror(errno));
    if (auto error = wait_for(descriptor_.get(), POLLIN, deadline_)) return tl::unexpected(*std::move(error));
  }
}

}  // namespace pgveil::proxy
