#include "proxy/session/client_origin.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

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

const KernelAddress* ClientOrigin::proxy() const {
  return proxied_ && proxied_->destination ? &proxied_->connection : nullptr;
}

bool ClientOrigin::is_local() const {
  return !proxied_ && (address_.is_unix() || address_.is_loopback());
}

void ClientOrigin::apply(const protocol::ProxyHeader& header) {
  Proxied proxied{.connection = address_, .destination = {}};
  if (header.addresses) {
    const auto& [source, destination] = *header.addresses;
    address_ = kernel_address(unmapped(source.address), source.port);
    proxied.destination = {.address = unmapped(destination.address), .port = destination.port};
  }
  proxied_ = std::make_unique<const Proxied>(std::move(proxied));
}

protocol::ProxyHeader ClientOrigin::header_for_server(const KernelAddress& local) const {
  if (!has_ip(address_)) return {};
  if (proxied_ && proxied_->destination)
    return {.addresses = protocol::ProxyAddresses{.source = endpoint(address_),
                                                  .destination = *proxied_->destination}};
  if (!has_ip(local)) return {};
  return {.addresses =
              protocol::ProxyAddresses{.source = endpoint(address_), .destination = endpoint(local)}};
}

}  // namespace pgveil::proxy
