// The phases of a session, in the order in which it passes them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pgveil::proxy {

// The names appear in the log and in metrics.
enum class SessionPhase : std::uint8_t {
  negotiate,        // PROXY header, SSLRequest, direct TLS; or CancelRequest or StartupMessage at once
  accept_tls,       // TLS handshake with the client
  read_startup,     // StartupMessage or CancelRequest, inside TLS
  authorize,        // TLS policy, rules, identity, and limits
  connect,          // resolve the name, connect by TCP or Unix socket, SSLRequest
  verify_upstream,  // TLS handshake with the server: chain, name, CRL
  log_in,           // until the server's ReadyForQuery
  relay,            // bytes are forwarded in both directions until a side ends
  forward_cancel,   // a CancelRequest is forwarded, until the server has closed
  closing,          // the last error is sent, buffers are drained
  closed,
};
inline constexpr std::size_t kSessionPhases = static_cast<std::size_t>(SessionPhase::closed) + 1;

[[nodiscard]] std::string_view name_of(SessionPhase phase);

}  // namespace pgveil::proxy
