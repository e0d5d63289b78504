// Shows a page of an admin address in a terminal, once or again and again.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

struct ShownPage {
  const SocketAddress& address;
  std::string_view path;  // "/status"
  bool clears_screen;     // before the page is shown again
  bool watches;           // shows it every two seconds, until the user interrupts it
  std::chrono::milliseconds patience;
  // Returns what is printed of a page; empty: it is not a page of pgveil.
  std::function<std::string(std::string_view)> text_of;
};

// Returns 0; or kExitUnavailable, after an error, if there is no such page.
[[nodiscard]] int show(const ShownPage& page);

// Prints an error, and returns kExitUnavailable.
int print_error(std::string_view error);
// The same, for the answer of an admin address, which ends with a line feed.
int print_refusal(std::string_view body);

}  // namespace pgveil::proxy
