// The process that listens on an address of this machine, for messages.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct PortOwner {
  pid_t process = 0;  // 0: this process may not see which one it is
  std::string name;   // as in /proc/PID/comm
  uid_t user = 0;     // the user that created the socket
};

// Returns the process that keeps pgveil from binding `address`, a TCP address or that of a Unix socket. Connects to a
// Unix socket to find it. nullopt: no process listens there, or this process may not see it.
[[nodiscard]] std::optional<PortOwner> owner_of_port(const KernelAddress& address);

struct ListeningSocket {
  std::string inode;
  uid_t user;
  bool operator==(const ListeningSocket&) const = default;
};
// The text of /proc/net/tcp and of /proc/net/tcp6.
struct ListeningTables {
  std::string_view ipv4;
  std::string_view ipv6;
};
// Returns the listening sockets that keep pgveil from binding `address`: they have the same port, and the same address
// or one that includes it. pgveil's IPv6 sockets are not for IPv4 (IPV6_V6ONLY). The tables do not show whether this
// is true for the socket of another process. So, for an IPv4 address, a socket of [::] is returned only if there is
// no other one.
[[nodiscard]] std::vector<ListeningSocket> conflicting_sockets(const ListeningTables& tables,
                                                               const KernelAddress& address);

}  // namespace pgveil::proxy
