#include "proxy/admin/request_host.h"

#include <arpa/inet.h>

#include <array>
#include <cstddef>
#include <string>

namespace pgveil::proxy {
namespace {

// Returns the host without its port.
std::string_view name_in(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool is_localhost(std::string_view name) {
  std::string lower;
  for (const char byte : name)
    lower += byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
  return lower == kLocalhost;
}

bool is_ip_address(std::string_view name) {
  std::array<std::byte, sizeof(in6_addr)> address{};
  if (!name.starts_with('[')) return ::inet_pton(AF_INET, std::string(name).c_str(), address.data()) == 1;
  if (!name.ends_with(']')) return false;
  return ::inet_pton(AF_INET6, std::string(name.substr(1, name.size() - 2)).c_str(), address.data()) == 1;
}

}  // namespace

AcceptedHosts accepted_hosts(const AdminConfig& config) {
  const bool is_local = config.address && config.address->is_loopback();
  return is_local ? AcceptedHosts::local : AcceptedHosts::any;
}

bool accepts(AcceptedHosts hosts, std::string_view host) {
  if (hosts == AcceptedHosts::any || host.empty()) return true;
  const std::string_view name = name_in(host);
  return is_localhost(name) || is_ip_address(name);
}

}  // namespace pgveil::proxy
