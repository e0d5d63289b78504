#include "proxy/config/ip_address.h"

#include <netinet/in.h>

#include <cstring>

namespace pgveil::proxy {

protocol::IpAddress ip_address(const sockaddr& address) {
  protocol::IpAddress ip;
  if (address.sa_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    std::memcpy(ip.bytes.data(), &in.sin_addr, sizeof in.sin_addr);
  } else if (address.sa_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
    ip.is_ipv6 = true;
    std::memcpy(ip.bytes.data(), &in6.sin6_addr, sizeof in6.sin6_addr);
  }
  return ip;
}

KernelAddress kernel_address(const protocol::IpAddress& address, std::uint16_t port) {
  if (address.is_ipv6) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    std::memcpy(&in6.sin6_addr, address.bytes.data(), sizeof in6.sin6_addr);
    return kernel_address(reinterpret_cast<const sockaddr*>(&in6), sizeof in6);
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  std::memcpy(&in.sin_addr, address.bytes.data(), sizeof in.sin_addr);
  return kernel_address(reinterpret_cast<const sockaddr*>(&in), sizeof in);
}

}  // namespace pgveil::proxy
