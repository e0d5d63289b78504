// How a session ends: the reason, and what its client or the operator may read of it.
#pragma once

#include <string>

#include "proxy/diagnostics/reason.h"

namespace pgveil::proxy {

struct Ending {
  Reason reason = Reason::client_closed;
  std::string message = {};  // instead of the reason's own sentence; empty: that one
  // Full sentences. For the log, and for clients on loopback or a Unix socket: the operator's own
  // application.
  std::string detail = {};
  std::string hint = {};
};

}  // namespace pgveil::proxy
