// The end of a session: the reason, and the texts for its client and for the operator.
#pragma once

#include <string>

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

}  // namespace pgveil::proxy
