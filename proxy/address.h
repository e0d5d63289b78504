// Socket addresses as the kernel takes them, and as a person reads them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

#include "proxy/config.h"

namespace pgveil::proxy {

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
