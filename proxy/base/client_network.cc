#include "proxy/base/client_network.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>

#include <array>
#include <cstring>

namespace pgveil::proxy {

std::optional<ClientNetwork> ClientNetwork::of(const KernelAddress& address) {
  if (address.family() == AF_INET) {
    sockaddr_in ipv4{};
    std::memcpy(&ipv4, address.get(), sizeof ipv4);
    return ClientNetwork(false, ntohl(ipv4.sin_addr.s_addr));
  }
  if (address.family() != AF_INET6) return std::nullopt;
  sockaddr_in6 ipv6{};
  std::memcpy(&ipv6, address.get(), sizeof ipv6);
  std::uint64_t network = 0;
  std::memcpy(&network, ipv6.sin6_addr.s6_addr, sizeof network);
  return ClientNetwork(true, be64toh(network));
}

std::string ClientNetwork::text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!is_ipv6_) {
    const in_addr ipv4{.s_addr = htonl(static_cast<std::uint32_t>(bits_))};
    return ::inet_ntop(AF_INET, &ipv4, text.data(), text.size());
  }
  in6_addr ipv6{};
  const std::uint64_t network = htobe64(bits_);
  std::memcpy(ipv6.s6_addr, &network, sizeof network);
  return ::inet_ntop(AF_INET6, &ipv6, text.data(), text.size()) + std::string("/64");
}

}  // namespace pgveil::proxy
