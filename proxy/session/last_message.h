// What a client is told when its session ends.
#pragma once

#include "protocol/bytes.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

// Returns the ErrorResponse for this end, empty if there is nothing to say. The message begins with kMessagePrefix, so
// that nobody takes it for the server's. Detail and hint are for the operator's own
// application (`is_local`: on loopback or a Unix socket); over the network a client gets the sentence only, and the rest
// stands in the log.
[[nodiscard]] protocol::Bytes last_message(const Ending& ending, ErrorFormat format, bool is_local);

}  // namespace pgveil::proxy
