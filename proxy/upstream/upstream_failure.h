// The endings for failures before a server is verified: the message for the client, and the details for the
// operator. They contain no text that the peer has sent (CVE-2024-10977).
#pragma once

#include <cstdint>
#include <string>

#include "protocol/upstream_greeting.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/upstream/connector.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// Returns the ending for any reply except a single `S`.
[[nodiscard]] Ending refused_greeting(const ServerAddress& server, protocol::UpstreamGreeting::Answer answer,
                                      std::uint8_t byte);
// Returns the ending for a server process at a Unix socket whose user is not the one in requirepeer; empty:
// its user is unknown.
[[nodiscard]] Ending wrong_peer(const ServerAddress& server, const std::string& required,
                                const std::string& user);
// Returns the ending if role_certificates has none for a client on whose behalf pgveil logs in.
[[nodiscard]] Ending no_role_certificate(const UpstreamConfig& upstream, const std::string& role);
// Returns the ending for a failed handshake or a refused certificate of the server.
[[nodiscard]] Ending tls_ending(const ServerAddress& server, const tls::FailureReport& failure);

}  // namespace pgveil::proxy
