// The listening sockets that the service manager has opened for this process (socket activation, sd_listen_fds(3)).
#pragma once

#include <string>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct InheritedSocket {
  std::string name;     // FileDescriptorName; "unknown" if there is none
  std::string address;  // as KernelAddress::text() writes it
  int descriptor;       // stays open until the process ends
};

// Returns the stream sockets that listen. The first call takes them from the environment; it must be made in the main
// thread, before the process starts others.
[[nodiscard]] const std::vector<InheritedSocket>& inherited_sockets();

[[nodiscard]] bool has_inherited_socket(const SocketAddress& address);
// Returns a new, non-blocking descriptor of the inherited socket with this address, which must exist. Below zero: the system
// has no descriptor left, and errno says why.
[[nodiscard]] Descriptor inherited_socket(const SocketAddress& address);

}  // namespace pgveil::proxy
