// Conversions between the IP addresses of the kernel and those of protocol/.
#pragma once

#include <cstdint>

#include "protocol/hba.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// Returns the address without its port; 0.0.0.0 for an address of another kind, such as a Unix socket.
[[nodiscard]] protocol::IpAddress ip_address(const sockaddr& address);
[[nodiscard]] KernelAddress kernel_address(const protocol::IpAddress& address, std::uint16_t port);

}  // namespace pgveil::proxy
