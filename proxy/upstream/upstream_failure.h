// What goes wrong before a server is verified, as endings: the sentence for the client, and the diagnosis for
// the operator. Nothing here repeats what the other side said in words (CVE-2024-10977).
#pragma once

#include <cstdint>
#include <string>

#include "protocol/upstream_greeting.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/upstream/connector.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// Any answer but a lone `S`.
[[nodiscard]] Ending refused_greeting(const ServerAddress& server, protocol::UpstreamGreeting::Answer answer,
                                      std::uint8_t byte);
// The server process at a Unix socket runs as another user than requirepeer says; empty: its user is unknown.
[[nodiscard]] Ending wrong_peer(const ServerAddress& server, const std::string& required,
                                const std::string& user);
// role_certificates has none for a client that pgveil vouches for.
[[nodiscard]] Ending no_role_certificate(const UpstreamConfig& upstream, const std::string& role);
// The handshake failed, or the server's certificate was refused.
[[nodiscard]] Ending tls_ending(const ServerAddress& server, const tls::FailureReport& failure);

}  // namespace pgveil::proxy
