#include "proxy/admin/http_client.h"

#include <fmt/format.h>

#include <optional>

#include "proxy/base/timed_socket.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxResponse = std::size_t{64} << 20U;
constexpr std::size_t kMaxRead = 16'384;

tl::expected<TimedSocket, std::string> connect_to_any(const SocketAddress& address,
                                                      TimedSocket::Clock::time_point deadline) {
  std::string error = "no address";
  for (const SocketAddress& each : address.each()) {
    const auto kernel = kernel_address(each);
    if (!kernel) return tl::unexpected("invalid address " + each.text());
    auto connected = TimedSocket::connect(*kernel, deadline);
    if (connected) return *std::move(connected);
    error = fmt::format("cannot connect to {}: {}", each.text(), connected.error());
  }
  return tl::unexpected(std::move(error));
}

tl::expected<std::string, std::string> receive_to_end(TimedSocket& socket) {
  std::string received;
  while (received.size() < kMaxResponse) {
    const auto bytes = socket.receive(kMaxRead);
    if (!bytes) return tl::unexpected(bytes.error());
    if (bytes->empty()) return received;
    received.append(bytes->begin(), bytes->end());
  }
  return tl::unexpected(std::string(kAnswerTooLarge));
}

}  // namespace

tl::expected<HttpResponse, std::string> fetch(const SocketAddress& address, std::string_view method,
                                              std::string_view target, std::chrono::milliseconds patience) {
  auto socket = connect_to_any(address, TimedSocket::Clock::now() + patience);
  if (!socket) return tl::unexpected(socket.error());
  const std::string host = address.is_unix() ? "localhost" : address.text();
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method, target, host);
  if (auto error = socket->send({reinterpret_cast<const std::uint8_t*>(request.data()), request.size()}))
    return tl::unexpected(*std::move(error));
  const auto received = receive_to_end(*socket);
  if (!received) return tl::unexpected(received.error());
  auto response = response_of(*received);
  if (!response) return tl::unexpected(address.text() + " does not speak HTTP");
  return *std::move(response);
}

}  // namespace pgveil::proxy
