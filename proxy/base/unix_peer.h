// Users of the system by name; the user of the peer process of a Unix socket.
#pragma once

#include <sys/types.h>

#include <string>

namespace pgveil::proxy {

// Returns the name of a user. Empty: the user database does not have it.
[[nodiscard]] std::string user_name(uid_t user);

// Returns the name of the user that owns the peer process of a Unix socket, as PostgreSQL's method `peer` and libpq's
// requirepeer use it. Empty: the kernel or the user database does not have it.
[[nodiscard]] std::string peer_user(int descriptor);

}  // namespace pgveil::proxy
