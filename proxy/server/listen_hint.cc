#include "proxy/server/listen_hint.h"

#include <fmt/format.h>

#include <cerrno>
#include <fstream>
#include <optional>

#include "proxy/base/port_owner.h"
#include "proxy/base/unix_peer.h"

namespace pgveil::proxy {
namespace {

std::string privileged_port_hint(const SocketAddress& address) {
  const int first = first_unprivileged_port();
  if (address.port >= first) return "A security policy of this machine, such as SELinux, does not allow it.";
  return fmt::format(
      "Ports below {} need the capability CAP_NET_BIND_SERVICE: in a systemd unit, write "
      "AmbientCapabilities=CAP_NET_BIND_SERVICE. Or set the sysctl net.ipv4.ip_unprivileged_port_start to {}, or "
      "use a port from {} on.",
      first, address.port, first);
}

// Returns for example `Process 123 (postgres)`, or `A process of the user "postgres"` if this process may not see more.
std::string text_of(const PortOwner& owner) {
  if (owner.process != 0) return fmt::format("Process {} ({})", owner.process, owner.name);
  const std::string user = user_name(owner.user);
  return user.empty() ? fmt::format("A process of uid {}", owner.user)
                      : fmt::format("A process of the user \"{}\"", user);
}

std::string port_in_use_hint(const SocketAddress& address) {
  const char* what = address.is_abstract() ? "name" : address.is_unix() ? "path" : "port";
  const auto kernel = kernel_address(address);
  const auto owner = kernel ? owner_of_port(*kernel) : std::nullopt;
  const std::string who =
      owner ? text_of(*owner) + " listens there" : fmt::format("Another process uses this {}", what);
  const std::string search =
      address.is_unix() || (owner && owner->process != 0)
          ? ""
          : fmt::format("; \"ss -tanp sport = :{}\" as root shows which", address.port);
  return fmt::format("{}{}. Stop it, or use another {}.", who, search, what);
}

std::string missing_address_hint(const SocketAddress& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  return fmt::format(
      "No network interface of this machine has this address; \"ip address\" shows those that it has. Use one of "
      "them, or {} for all.",
      is_ipv6 ? "[::]" : "0.0.0.0");
}

// Returns the hint for an error of lacking resources; empty: `error` is another one.
std::string resource_hint(int error) {
  switch (error) {
    case EMFILE:
      return "Raise the limit of open files of this process: LimitNOFILE in a systemd unit, \"ulimit -n\" in a shell.";
    case ENFILE: return "Raise the limit of open files of the system, the sysctl fs.file-max.";
    case ENOSPC:
      return "Raise the sysctl fs.epoll.max_user_watches, the number of sockets that a user may watch.";
    case ENOBUFS:
    case ENOMEM: return "The system has no memory for another socket. Free some memory.";
    default: return "";
  }
}

}  // namespace

int first_unprivileged_port() {
  int port = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> port;
  return port;
}

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
    default: break;
  }
  const std::string hint = resource_hint(error);
  return hint.empty() ? "Use another address." : hint;
}

std::string accept_hint(int error) {
  return "New connections wait. " + resource_hint(error);
}

}  // namespace pgveil::proxy
