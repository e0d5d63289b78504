// How a side ended its connection (announced, unannounced, or inside a message), as an ending for the log.
#pragma once

#include "proxy/diagnostics/session_end.h"
#include "proxy/net/stream.h"

namespace pgveil::proxy {

struct SideEnd {
  bool in_message = false;     // a message had begun and was not complete
  bool was_announced = false;  // by the last message: Terminate, or an ErrorResponse that is FATAL
  Stream::CloseNotify close_notify = Stream::CloseNotify::without_tls;

  // Returns whether an attacker may have ended the connection, so that bytes may be missing. After the
  // announcement no bytes were expected.
  [[nodiscard]] bool is_cut_off() const {
    return in_message || (close_notify == Stream::CloseNotify::missing && !was_announced);
  }
};

// For an established session.
[[nodiscard]] Ending closed_by_client(const SideEnd& end);
[[nodiscard]] Ending closed_by_server(const SideEnd& end);
// For a client that is still logging in. It may close to ask its user for a password, and need not send Terminate.
[[nodiscard]] Ending closed_by_client_in_login(const SideEnd& end);

}  // namespace pgveil::proxy
