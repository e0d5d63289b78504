// How a side ended its connection, as an ending for the log: announced, unannounced, or inside a message.
#pragma once

#include "proxy/diagnostics/session_end.h"
#include "proxy/net/stream.h"

namespace pgveil::proxy {

struct SideEnd {
  bool in_message = false;     // a message had begun and had not come as a whole
  bool was_announced = false;  // by the last message: Terminate, or an ErrorResponse that is FATAL
  Stream::CloseNotify close_notify = Stream::CloseNotify::without_tls;

  // Somebody else may have ended the connection, and what was to follow is missing. After the announcement
  // nothing was to follow.
  [[nodiscard]] bool is_cut_off() const {
    return in_message || (close_notify == Stream::CloseNotify::missing && !was_announced);
  }
};

// Of an established session.
[[nodiscard]] Ending closed_by_client(const SideEnd& end);
[[nodiscard]] Ending closed_by_server(const SideEnd& end);
// Of a client that is still logging in: it may leave to ask its user for a password, and nobody expects
// Terminate.
[[nodiscard]] Ending closed_by_client_in_login(const SideEnd& end);

}  // namespace pgveil::proxy
