#include "proxy/server/listen_hint.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>

#include "proxy/base/port_owner.h"

namespace pgveil::proxy {
namespace {

// The first port that needs no privilege (ip_unprivileged_port_start).
int first_free_port() {
  int port = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> port;
  return port;
}

std::string privileged_port_hint(const SocketAddress& address) {
  const int first = first_free_port();
  if (address.port >= first) return "A security policy of this machine, such as SELinux, does not allow it.";
  return fmt::format(
      "Ports below {} need the capability CAP_NET_BIND_SERVICE: in a systemd unit, write "
      "AmbientCapabilities=CAP_NET_BIND_SERVICE. Or set the sysctl net.ipv4.ip_unprivileged_port_start to {}, or "
      "use a port from {} on.",
      first, address.port, first);
}

std::string port_in_use_hint(const SocketAddress& address) {
  if (address.is_unix()) return "Another process uses this name. Stop it, or use another name.";
  const auto kernel = kernel_address(address);
  const auto owner = kernel ? owner_of_port(*kernel) : std::nullopt;
  if (owner)
    return fmt::format("Process {} ({}) listens there. Stop it, or use another port.", owner->process,
                       owner->name);
  return fmt::format(
      "Another process listens there; \"ss -ltnp sport = :{}\" as root shows which. Stop it, or use another port.",
      address.port);
}

std::string missing_address_hint(const SocketAddress& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return fmt::format(
      "No network interface of this machine has this address; \"ip address\" shows those that it has. Use one of "
      "them, or {} for all.",
      is_ipv6 ? "[::]" : "0.0.0.0");
}

}  // namespace

std::string listen_hint(const SocketAddress& address, int error) {
  switch (error) {
    case EADDRINUSE: return port_in_use_hint(address);
    case EADDRNOTAVAIL: return missing_address_hint(address);
    case EAFNOSUPPORT:
      return "This machine has no addresses of this family: use IPv4 in place of IPv6, or IPv6.";
    case EACCES:
      if (!address.is_unix()) return privileged_port_hint(address);
      return "Let the user of this process write to the directory of the socket.";
    case ENOENT: return "Create the directory of the socket.";
    case EMFILE:
    case ENFILE: return "Raise the limit of open files (LimitNOFILE, ulimit -n).";
    default: return "Use another address.";
  }
}

}  // namespace pgveil::proxy
