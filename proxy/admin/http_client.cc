#include "proxy/admin/http_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

using Clock = std::chrono::steady_clock;
template <class T>
using Result = tl::expected<T, std::string>;

constexpr std::size_t kMaxResponse = std::size_t{64} << 20U;

std::string failure(std::string_view what, int error) {
  return fmt::format("{}: {}", what, std::strerror(error));
}

// Waits until the socket is ready for `events`. Returns the failure, if any.
std::optional<std::string> wait(int descriptor, short events, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd poll{.fd = descriptor, .events = events, .revents = 0};
  const int ready = ::poll(&poll, 1, static_cast<int>(std::max<std::int64_t>(left, 0)));
  if (ready < 0 && errno != EINTR) return failure("poll", errno);
  if (ready <= 0 && Clock::now() >= deadline) return "no answer in time";
  return std::nullopt;
}

bool is_transient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

Result<Descriptor> connect(const SocketAddress& address, Clock::time_point deadline) {
  const auto kernel = kernel_address(address);
  if (!kernel) return tl::unexpected("invalid address " + address.text());
  Descriptor socket(::socket(kernel->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return tl::unexpected(failure("socket", errno));
  if (::connect(socket.get(), kernel->get(), kernel->size) == 0) return socket;
  if (errno != EINPROGRESS) return tl::unexpected(failure("cannot connect to " + address.text(), errno));
  if (auto failed = wait(socket.get(), POLLOUT, deadline)) return tl::unexpected(*std::move(failed));
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return tl::unexpected(failure("cannot connect to " + address.text(), error));
  return socket;
}

Result<Descriptor> connect_to_any(const SocketAddress& address, Clock::time_point deadline) {
  Result<Descriptor> connected = tl::unexpected(std::string("no address"));
  for (const SocketAddress& each : address.each())
    if (connected = connect(each, deadline); connected) break;
  return connected;
}

std::optional<std::string> send_all(int descriptor, std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && !is_transient(errno)) return failure("send", errno);
    if (sent > 0) bytes.remove_prefix(static_cast<std::size_t>(sent));
    if (bytes.empty()) break;
    if (auto failed = wait(descriptor, POLLOUT, deadline)) return failed;
  }
  return std::nullopt;
}

Result<std::string> receive_to_end(int descriptor, Clock::time_point deadline) {
  std::string received;
  std::array<char, 16384> bytes{};
  while (received.size() < kMaxResponse) {
    const ssize_t size = ::recv(descriptor, bytes.data(), bytes.size(), 0);
    if (size == 0) return received;
    if (size > 0) {
      received.append(bytes.data(), static_cast<std::size_t>(size));
      continue;
    }
    if (!is_transient(errno)) return tl::unexpected(failure("recv", errno));
    if (auto failed = wait(descriptor, POLLIN, deadline)) return tl::unexpected(*std::move(failed));
  }
  return tl::unexpected(std::string("the answer is too large"));
}

}  // namespace

tl::expected<HttpResponse, std::string> fetch(const SocketAddress& address, std::string_view method,
                                              std::string_view target, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  const auto socket = connect_to_any(address, deadline);
  if (!socket) return tl::unexpected(socket.error());
  const std::string host = address.is_unix() ? "localhost" : address.text();
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target, host);
  if (auto failed = send_all(socket->get(), request, deadline)) return tl::unexpected(*std::move(failed));
  const auto received = receive_to_end(socket->get(), deadline);
  if (!received) return tl::unexpected(received.error());
  auto response = response_of(*received);
  if (!response) return tl::unexpected(address.text() + " does not speak HTTP");
  return *std::move(response);
}

}  // namespace pgveil::proxy
