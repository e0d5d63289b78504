#include "proxy/config/trusted_proxies.h"

#include <algorithm>
#include <charconv>

#include "proxy/config/ip_address.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kBitsPerByte = 8;

std::size_t bit_count(const protocol::IpAddress& address) {
  return address.is_ipv6 ? 128 : 32;
}

}  // namespace

bool IpNetwork::contains(const protocol::IpAddress& other) const {
  if (other.is_ipv6 != address.is_ipv6) return false;
  const auto differ = [&](std::size_t place) { return address.bytes[place] ^ other.bytes[place]; };
  const std::size_t whole = prefix_bits / kBitsPerByte;
  for (std::size_t place = 0; place < whole; ++place)
    if (differ(place) != 0) return false;
  const std::size_t rest = prefix_bits % kBitsPerByte;
  return rest == 0 || differ(whole) >> (kBitsPerByte - rest) == 0;
}

bool IpNetwork::is_loopback() const {
  static const IpNetwork ipv4 = *parse_ip_network("127.0.0.0/8");
  static const IpNetwork ipv6 = *parse_ip_network("::1/128");
  const IpNetwork& loopback = address.is_ipv6 ? ipv6 : ipv4;
  return prefix_bits >= loopback.prefix_bits && loopback.contains(address);
}

std::string IpNetwork::text() const {
  std::string host = kernel_address(address, 0).text();
  host.erase(host.rfind(':'));
  if (address.is_ipv6) host = host.substr(1, host.size() - 2);
  return host + '/' + std::to_string(prefix_bits);
}

std::optional<IpNetwork> parse_ip_network(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = protocol::parse_ip_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  IpNetwork network{.address = *address, .prefix_bits = bit_count(*address)};
  if (slash == std::string_view::npos) return network;
  const std::string_view bits = text.substr(slash + 1);
  const char* last = bits.data() + bits.size();
  const auto [end, error] = std::from_chars(bits.data(), last, network.prefix_bits);
  if (error != std::errc() || end != last || network.prefix_bits > bit_count(*address)) return std::nullopt;
  return network;
}

bool TrustedProxies::contains(const KernelAddress& client) const {
  if (is_empty()) return false;
  if (client.is_unix()) return unix_clients;
  const auto address = ip_address(*client.get());
  return std::any_of(networks.begin(), networks.end(),
                     [&](const IpNetwork& network) { return network.contains(address); });
}

bool TrustedProxies::are_local() const {
  return std::all_of(networks.begin(), networks.end(),
                     [](const IpNetwork& network) { return network.is_loopback(); });
}

}  // namespace pgveil::proxy
