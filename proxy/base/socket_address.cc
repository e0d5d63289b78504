#include "proxy/base/socket_address.h"

#include <arpa/inet.h>
#include <fmt/compile.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pgveil::proxy {
namespace {

// Returns the number of the network interface for a zone, which is its name or its number. nullopt: there is none.
std::optional<std::uint32_t> scope_id(const std::string& zone) {
  if (const auto index = ::if_nametoindex(zone.c_str()); index != 0) return index;
  std::uint32_t number = 0;
  std::array<char, IF_NAMESIZE> name{};
  const auto [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), number);
  const bool is_number = error == std::errc() && end == zone.data() + zone.size();
  if (!is_number || ::if_indextoname(number, name.data()) == nullptr) return std::nullopt;
  return number;
}

std::string zone_text(std::uint32_t scope_id) {
  std::array<char, IF_NAMESIZE> name{};
  if (::if_indextoname(scope_id, name.data()) != nullptr) return name.data();
  return std::to_string(scope_id);
}

}  // namespace

bool SocketAddress::is_loopback() const {
  if (host == kLocalhost) return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

std::vector<SocketAddress> SocketAddress::each() const {
  if (host != kLocalhost) return {*this};
  return {{.host = "127.0.0.1", .port = port, .unix_path = ""},
          {.host = "::1", .port = port, .unix_path = ""}};
}

std::string SocketAddress::text() const {
  if (is_unix()) return "unix:" + unix_path;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? '[' + host + ']' : host) + ':' + std::to_string(port);
}

bool KernelAddress::is_loopback() const {
  if (family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    return (ntohl(in->sin_addr.s_addr) >> 24U) == 127;
  }
  if (family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) return in6->sin6_addr.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
  }
  return false;
}

std::string KernelAddress::text() const {
  if (family() == AF_INET) {
    // Every session logs two addresses, and inet_ntop() costs as much as the rest of a log line.
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    const auto byte = std::bit_cast<std::array<std::uint8_t, 4>>(in->sin_addr.s_addr);
    return fmt::format(FMT_COMPILE("{}.{}.{}.{}:{}"), byte[0], byte[1], byte[2], byte[3],
                       ntohs(in->sin_port));
  }
  if (family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    std::array<char, INET6_ADDRSTRLEN> host{};
    ::inet_ntop(AF_INET6, &in6->sin6_addr, host.data(), host.size());
    const std::string zone = in6->sin6_scope_id == 0 ? "" : '%' + zone_text(in6->sin6_scope_id);
    return "[" + std::string(host.data()) + zone + "]:" + std::to_string(ntohs(in6->sin6_port));
  }
  if (family() == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
    const std::size_t length = size - offsetof(sockaddr_un, sun_path);
    if (size <= offsetof(sockaddr_un, sun_path)) return "unix";
    if (un->sun_path[0] == '\0') return "unix:@" + std::string(un->sun_path + 1, length - 1);
    return "unix:" + std::string(un->sun_path, ::strnlen(un->sun_path, length));
  }
  return "-";
}

KernelAddress unnamed_unix_address() {
  KernelAddress address;
  address.get()->sa_family = AF_UNIX;
  address.size = sizeof(sa_family_t);
  return address;
}

std::string host_of(const KernelAddress& address) {
  if (address.is_unix()) return "[local]";
  std::string text = address.text();
  text.erase(std::min(text.rfind(':'), text.size()));
  return text.starts_with('[') ? text.substr(1, text.size() - 2) : text;
}

KernelAddress kernel_address(const sockaddr* address, socklen_t size) {
  KernelAddress result;
  result.size = std::min<socklen_t>(size, sizeof result.storage);
  std::memcpy(&result.storage, address, result.size);
  return result;
}

std::optional<KernelAddress> unix_address(const std::string& path) {
  sockaddr_un un{};
  if (path.size() >= sizeof un.sun_path) return std::nullopt;
  un.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), un.sun_path);
  const bool abstract = !path.empty() && path[0] == '@';
  if (abstract) un.sun_path[0] = '\0';
  const std::size_t size = offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1);
  return kernel_address(reinterpret_cast<const sockaddr*>(&un), static_cast<socklen_t>(size));
}

std::optional<KernelAddress> kernel_address(const SocketAddress& address) {
  if (address.is_unix()) return unix_address(address.unix_path);
  sockaddr_in in{};
  if (::inet_pton(AF_INET, address.host.c_str(), &in.sin_addr) == 1) {
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    return kernel_address(reinterpret_cast<const sockaddr*>(&in), sizeof in);
  }
  sockaddr_in6 in6{};
  const auto percent = address.host.find('%');
  if (::inet_pton(AF_INET6, address.host.substr(0, percent).c_str(), &in6.sin6_addr) != 1)
    return std::nullopt;
  if (percent != std::string::npos) {
    const auto scope = scope_id(address.host.substr(percent + 1));
    if (!scope) return std::nullopt;
    in6.sin6_scope_id = *scope;
  }
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(address.port);
  return kernel_address(reinterpret_cast<const sockaddr*>(&in6), sizeof in6);
}

std::uint16_t port_of(const KernelAddress& address) {
  if (address.family() == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
}

KernelAddress bound_address(int descriptor) {
  KernelAddress result;
  result.size = sizeof result.storage;
  ::getsockname(descriptor, result.get(), &result.size);
  return result;
}

}  // namespace pgveil::proxy
