// One HTTP request to an admin address, for the commands that ask a running pgveil.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "proxy/admin/http_message.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// Sends a request without a body, and waits for the response, all of it at most for `patience`. Otherwise
// returns why there is no response.
[[nodiscard]] tl::expected<HttpResponse, std::string> fetch(const SocketAddress& address,
                                                            std::string_view method, std::string_view target,
                                                            std::chrono::milliseconds patience);

}  // namespace pgveil::proxy
