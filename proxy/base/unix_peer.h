// The process at the other end of a Unix socket.
#pragma once

#include <string>

namespace pgveil::proxy {

// The user that owns the process at the other end of a Unix socket, as PostgreSQL's `peer` and libpq's
// requirepeer ask for it; empty: the kernel or the user database does not say.
[[nodiscard]] std::string peer_user(int descriptor);

}  // namespace pgveil::proxy
