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
  std::shared_ptr<const tls::Established> tls;  // null after a failure, and without TLS
  StepDuration duration{0};
};

// Connects to `upstream` and closes the connection before its StartupMessage. `budget` is the time for all addresses together.
// `rejection_time`: how long the server has to reject our certificate, which with TLS 1.3 it does after the handshake; 0: it has
// not asked for one.
[[nodiscard]] SessionAttempt attempt_session(const std::shared_ptr<const Upstream>& upstream,
                                             const protocol::Bytes& first_bytes,
                                             std::chrono::milliseconds budget,
                                             std::chrono::milliseconds rejection_time);

}  // namespace pgveil::proxy
