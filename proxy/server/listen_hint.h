// The hints about an address that cannot be listened on, and about clients that cannot be accepted.
#pragma once

#include <string>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// Returns one or more sentences. `error` is the errno of socket(), bind() or listen(), or of epoll_ctl() for the
// listening socket.
[[nodiscard]] std::string listen_hint(const SocketAddress& address, int error);

// Returns one or more sentences. `error` is the errno of accept().
[[nodiscard]] std::string accept_hint(int error);

// Returns the first port that needs no privilege (ip_unprivileged_port_start).
[[nodiscard]] int first_unprivileged_port();

}  // namespace pgveil::proxy
