// Socket addresses in the form of the configuration, and in the form of the kernel.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::proxy {

// The address of a listener or a server: a TCP address, or the path of a Unix socket.
struct SocketAddress {
  // A numeric address without brackets, with the zone of a link-local address ("fe80::1%eth0"), or
  // "localhost". Empty for a Unix socket.
  std::string host;
  std::uint16_t port = 0;  // 0: any free port
  std::string unix_path;   // empty for TCP; begins with `@` in the abstract namespace

  [[nodiscard]] bool is_unix() const { return !unix_path.empty(); }
  // Returns whether the name is in the abstract namespace. Such a name is not a file and has no permissions:
  // every process of the network namespace may connect.
  [[nodiscard]] bool is_abstract() const { return unix_path.starts_with('@'); }
  // Returns true for 127.0.0.0/8, ::1, ::ffff:127.x.x.x and localhost.
  [[nodiscard]] bool is_loopback() const;
  // Returns the addresses that a listener opens: 127.0.0.1 and ::1 for "localhost", otherwise the address itself.
  [[nodiscard]] std::vector<SocketAddress> each() const;
  // Returns for example "127.0.0.1:5432", "[::1]:5432", "localhost:5432", "unix:/run/pgveil/.s.PGSQL.5432" or
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
  // Returns for example "127.0.0.1:5432", "[::1]:5432", "[fe80::1%eth0]:5432" or "unix:PATH"; "unix" if the
  // Unix socket of the peer has no path.
  [[nodiscard]] std::string text() const;
};

// Returns the address without its port, as PostgreSQL names a client: "127.0.0.1", "fe80::1%eth0", or "[local]" for a Unix
// socket.
[[nodiscard]] std::string host_of(const KernelAddress& address);

[[nodiscard]] KernelAddress kernel_address(const sockaddr* address, socklen_t size);
// Returns that of a Unix socket without a path, such as the client's end of a connection.
[[nodiscard]] KernelAddress unnamed_unix_address();
// Converts the path of a Unix socket. A path that begins with `@` is in the abstract namespace, as in libpq.
// nullopt: the path is longer than the kernel allows.
[[nodiscard]] std::optional<KernelAddress> unix_address(const std::string& path);
// nullopt: `address.host` is not a numeric address, or this machine has no interface of its zone.
[[nodiscard]] std::optional<KernelAddress> kernel_address(const SocketAddress& address);
// Returns the port of an IPv4 or IPv6 address.
[[nodiscard]] std::uint16_t port_of(const KernelAddress& address);
// Returns the address of a bound socket.
[[nodiscard]] KernelAddress bound_address(int descriptor);

}  // namespace pgveil::proxy
