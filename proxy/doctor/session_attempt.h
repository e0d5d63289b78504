// The verdict on a server: a connection that is made by the code of a session, up to the verified TLS handshake. So the
// examination and a session cannot disagree.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "protocol/bytes.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/doctor/report.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/established.h"

namespace pgveil::proxy {

struct SessionAttempt {
  std::optional<Ending> failure;                // nullopt: the server is verified
  std::shared_ptr<const tls::Established> tls;  // null: no TLS handshake was completed
  StepDuration duration{0};
};

// Connects to `upstream` and closes the connection before its StartupMessage. `budget` is the time for all addresses together.
// With TLS 1.3 a server rejects our certificate, or that we have none, after the handshake. So this waits, if our certificate was
// sent or `may_require_certificate`: half a second, or longer if `handshake`, the duration of one handshake, is long.
[[nodiscard]] SessionAttempt attempt_session(const std::shared_ptr<const Upstream>& upstream,
                                             const protocol::Bytes& first_bytes,
                                             std::chrono::milliseconds budget, StepDuration handshake,
                                             bool may_require_certificate);

}  // namespace pgveil::proxy
