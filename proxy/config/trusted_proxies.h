// The proxies from which a listener accepts a PROXY header: networks, or the clients of its Unix socket.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/hba.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct IpNetwork {
  protocol::IpAddress address;
  std::size_t prefix_bits = 0;

  [[nodiscard]] bool contains(const protocol::IpAddress& other) const;
  // Returns whether the network has only loopback addresses: 127.0.0.0/8 and ::1.
  [[nodiscard]] bool is_loopback() const;
  [[nodiscard]] std::string text() const;  // "10.0.0.0/8"
};
// Parses "10.0.0.0/8", or an address without "/" for that address alone. nullopt: it is neither.
[[nodiscard]] std::optional<IpNetwork> parse_ip_network(std::string_view text);

struct TrustedProxies {
  std::vector<IpNetwork> networks;
  bool unix_clients = false;  // the word `unix`

  [[nodiscard]] bool is_empty() const { return networks.empty() && !unix_clients; }
  [[nodiscard]] bool contains(const KernelAddress& client) const;
  // Returns whether all of them are on this machine.
  [[nodiscard]] bool are_local() const;
};
inline constexpr std::string_view kUnixClients = "unix";

}  // namespace pgveil::proxy
