// `pgveil sessions` and `pgveil terminate`: list the sessions of a running pgveil, and end one.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

// Keeps the sessions whose value of `key` matches `pattern`, in which `*` and `?` are wildcards as in a shell.
struct SessionFilter {
  std::string key;
  std::string pattern;
};

struct SessionsQuery {
  SocketAddress address;
  std::string sort = "age";
  std::vector<SessionFilter> filters;
  bool as_json = false;
  bool watches = false;  // until the user interrupts it
  std::chrono::milliseconds patience{1'000};
};

// The keys for --sort and --filter.
[[nodiscard]] std::span<const std::string_view> session_keys();

// Prints the sessions. Returns 0, or kExitUnavailable if there is no answer.
[[nodiscard]] int run_sessions(const SessionsQuery& query);

// Returns what is printed of the page /sessions; empty: it is not such a page.
[[nodiscard]] std::string sessions_text(std::string_view json, const SessionsQuery& query);

struct Termination {
  SocketAddress address;
  std::string session;  // "7f3a-2b"
  std::chrono::milliseconds patience{1'000};
};

// Returns 0; or kExitUnavailable, after an error, if there is no such session or no answer.
[[nodiscard]] int run_terminate(const Termination& termination);

}  // namespace pgveil::proxy
