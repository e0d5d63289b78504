// Socket addresses as the kernel takes them, and as a person reads them.
#pragma once

#include <sys/socket.h>

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
  // "127.0.0.1:5432", "[::1]:5432", "unix:PATH"; "unix" for a peer without a path.
  [[nodiscard]] std::string text() const;
};

[[nodiscard]] KernelAddress kernel_address(const sockaddr* address, socklen_t size);
// A path that begins with `@` is in the abstract namespace, as in libpq. nullopt: longer than the kernel
// allows.
[[nodiscard]] std::optional<KernelAddress> unix_address(const std::string& path);
// nullopt: `address.host` is no numeric address.
[[nodiscard]] std::optional<KernelAddress> kernel_address(const SocketAddress& address);
// The address that a bound socket has.
[[nodiscard]] KernelAddress bound_address(int descriptor);

}  // namespace pgveil::proxy
