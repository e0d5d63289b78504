// A TLS handshake with a client that failed, as an ending. The client gets the TLS alert only; this is for
// the log.
#pragma once

#include "proxy/ending.h"
#include "tls/failure.h"

namespace pgveil::proxy {

[[nodiscard]] Ending client_tls_ending(const tls::FailureReport& failure);

}  // namespace pgveil::proxy
