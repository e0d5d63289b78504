// The last message to a client when its session ends.
#pragma once

#include "protocol/bytes.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

// Returns the ErrorResponse for this end, empty if the client is sent none. The message begins with kMessagePrefix,
// so that it is not taken for a message of the server. A local client (`is_local`: on
// loopback or a Unix socket) is the operator's own application and also gets the detail and the hint. A
// client on the network gets the primary message only; the detail and the hint are in the log.
[[nodiscard]] protocol::Bytes last_message(const Ending& ending, ErrorFormat format, bool is_local);

}  // namespace pgveil::proxy
