#include "proxy/session/session_phase.h"

namespace pgveil::proxy {

std::string_view name_of(SessionPhase phase) {
  switch (phase) {
    case SessionPhase::negotiate: return "negotiate";
    case SessionPhase::accept_tls: return "accept_tls";
    case SessionPhase::read_startup: return "read_startup";
    case SessionPhase::authorize: return "authorize";
    case SessionPhase::connect: return "connect";
    case SessionPhase::verify_upstream: return "verify_upstream";
    case SessionPhase::log_in: return "log_in";
    case SessionPhase::relay: return "relay";
    case SessionPhase::forward_cancel: return "forward_cancel";
    case SessionPhase::closing: return "closing";
    case SessionPhase::closed: return "closed";
  }
  return "?";
}

}  // namespace pgveil::proxy
