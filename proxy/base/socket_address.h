// Socket addresses: as the configuration names them, and as the kernel takes them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::proxy {

// Where a listener waits or a server is: a TCP address, or the path of a Unix socket.
struct SocketAddress {
  // Numeric, without brackets, with the zone of a link-local address ("fe80::1%eth0"); or "localhost"; empty
  // for a Unix socket.
  std::string host;
  std::uint16_t port = 0;  // 0: any free port
  std::string unix_path;   // empty for TCP; begins with `@` in the abstract namespace

  [[nodiscard]] bool is_unix() const { return !unix_path.empty(); }
  // A name that no file stands for: it has no permissions, and every process of the network namespace may
  // connect.
  [[nodiscard]] bool is_abstract() const { return unix_path.starts_with('@'); }
  // Loopback: 127.0.0.0/8 or ::1 (also as ::ffff:127.x.x.x), or localhost.
  [[nodiscard]] bool is_loopback() const;
  // The addresses that a listener opens: 127.0.0.1 and ::1 for "localhost", otherwise the address itself.
  [[nodiscard]] std::vector<SocketAddress> each() const;
  // "127.0.0.1:5432", "[::1]:5432", "localhost:5432", "unix:/run/pgveil/.s.PGSQL.5432" or
  // "unix:@pgveil/.s.PGSQL.5432".
  [[nodiscard]] std::string text() const;
};
inline constexpr std::string_view kLocalhost = "localhost";

struct KernelAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] bool is_unix() const { return family() == AF_UNIX; }
  [[nodiscard]] bool is_loopback() const;
  // "127.0.0.1:5432", "[::1]:5432", "[fe80::1%eth0]:5432", "unix:PATH"; "unix" for a peer without a path.
  [[nodiscard]] std::string text() const;
};

[[nodiscard]] KernelAddress kernel_address(const sockaddr* address, socklen_t size);
// A path that begins with `@` is in the abstract namespace, as in libpq. nullopt: longer than the kernel
// allows.
[[nodiscard]] std::optional<KernelAddress> unix_address(const std::string& path);
// nullopt: `address.host` is not a numeric address, or this machine has no interface of its zone.
[[nodiscard]] std::optional<KernelAddress> kernel_address(const SocketAddress& address);
// Of an IPv4 or IPv6 address.
[[nodiscard]] std::uint16_t port_of(const KernelAddress& address);
// The address that a bound socket has.
[[nodiscard]] KernelAddress bound_address(int descriptor);

}  // namespace pgveil::proxy
