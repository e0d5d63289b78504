// The end of a session: the reason, and the texts for its client and for the operator.
#pragma once

#include <string>
#include <string_view>

#include "proxy/diagnostics/reason.h"

namespace pgveil::proxy {

struct Ending {
  Reason reason = Reason::client_closed;
  std::string message = {};  // replaces the message of the reason, unless it is empty
  // Full sentences. They are for the log, and for clients on loopback or a Unix socket, which are the operator's own
  // applications.
  std::string detail = {};
  std::string hint = {};
};

// Returns the message of the ending, or else that of its reason.
[[nodiscard]] inline std::string_view message_of(const Ending& ending) {
  return ending.message.empty() ? describe(ending.reason).message : std::string_view(ending.message);
}

}  // namespace pgveil::proxy
