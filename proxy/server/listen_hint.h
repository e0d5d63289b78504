// What to do about an address that cannot be listened on.
#pragma once

#include <string>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// `error` is the errno of socket(), bind() or listen(); one or more sentences.
[[nodiscard]] std::string listen_hint(const SocketAddress& address, int error);

}  // namespace pgveil::proxy
