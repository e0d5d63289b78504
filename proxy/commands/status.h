// `pgveil status`: shows the state of a running pgveil in a terminal.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct StatusQuery {
  SocketAddress address;
  bool as_json = false;
  bool watches = false;  // until the user interrupts it
  std::chrono::milliseconds patience{1'000};
};

// Prints the state. Returns 0, or kExitUnavailable if there is no answer.
[[nodiscard]] int run_status(const StatusQuery& query);

// Returns the text for a terminal that is made of the page /status.
[[nodiscard]] std::string status_text(std::string_view json);

}  // namespace pgveil::proxy
