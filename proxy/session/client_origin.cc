#include "proxy/session/client_origin.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "proxy/config/ip_address.h"

namespace pgveil::proxy {
namespace {

// Returns the IPv4 address of a mapped one (::ffff:192.0.2.1). A proxy whose socket takes both families tells mapped
// addresses, and no rule for an IPv4 network would match them.
protocol::IpAddress unmapped(const protocol::IpAddress& address) {
  constexpr std::array<std::uint8_t, 12> kPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!address.is_ipv6 || !std::equal(kPrefix.begin(), kPrefix.end(), address.bytes.begin())) return address;
  protocol::IpAddress ipv4;
  std::copy(address.bytes.begin() + kPrefix.size(), address.bytes.end(), ipv4.bytes.begin());
  return ipv4;
}

bool has_ip(const KernelAddress& address) {
  return address.family() == AF_INET || address.family() == AF_INET6;
}

protocol::ProxyEndpoint endpoint(const KernelAddress& address) {
  return {.address = ip_address(*address.get()), .port = port_of(address)};
}

}  // namespace

bool ClientOrigin::is_local() const {
  return !has_header_ && (address_.is_unix() || address_.is_loopback());
}

void ClientOrigin::apply(const protocol::ProxyHeader& header) {
  has_header_ = true;
  if (!header.addresses) return;
  const auto& source = header.addresses->source;
  address_ = kernel_address(unmapped(source.address), source.port);
}

protocol::ProxyHeader ClientOrigin::header_for_server(
    const std::optional<protocol::ProxyEndpoint>& destination, const KernelAddress& local) const {
  if (!has_ip(address_) || (!destination && !has_ip(local))) return {};
  protocol::ProxyEndpoint to = destination ? *destination : endpoint(local);
  to.address = unmapped(to.address);
  return {.addresses = protocol::ProxyAddresses{.source = endpoint(address_), .destination = to}};
}

}  // namespace pgveil::proxy
