// Which process listens on a TCP port of this machine, for messages.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct PortOwner {
  pid_t process;
  std::string name;  // as in /proc/PID/comm
};

// A process that keeps `address` from being bound, by /proc; nullopt: this process may not see it, or there is none.
[[nodiscard]] std::optional<PortOwner> owner_of_port(const KernelAddress& address);

// The inodes of listening sockets in `table`, the text of /proc/net/tcp or /proc/net/tcp6, that are bound to the same
// port and to the same address, or if one of the two addresses stands for all.
[[nodiscard]] std::vector<std::string> listening_inodes(std::string_view table, const KernelAddress& address);

}  // namespace pgveil::proxy
