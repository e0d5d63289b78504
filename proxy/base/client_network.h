// The part of a client's address by which limits count: an IPv4 address, or the first 64 bits of an IPv6 address. One
// customer of an IPv6 provider has a whole /64 (RFC 6177), and can use another address for each connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

class ClientNetwork {
 public:
  // nullopt: the client uses a Unix socket. `address` is not an IPv4-mapped IPv6 address: no socket of pgveil takes both
  // families, and ClientOrigin replaces one in a PROXY header.
  [[nodiscard]] static std::optional<ClientNetwork> of(const KernelAddress& address);

  // Returns for example "10.1.2.3" or "2001:db8:1:2::/64".
  [[nodiscard]] std::string text() const;
  bool operator==(const ClientNetwork& other) const = default;
  // An order for maps.
  bool operator<(const ClientNetwork& other) const {
    return is_ipv6_ != other.is_ipv6_ ? other.is_ipv6_ : bits_ < other.bits_;
  }

 private:
  ClientNetwork(bool is_ipv6, std::uint64_t bits) : is_ipv6_(is_ipv6), bits_(bits) {}

  bool is_ipv6_;
  std::uint64_t bits_;  // in the byte order of the host
};

}  // namespace pgveil::proxy
