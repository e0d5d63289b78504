#include "proxy/doctor/session_attempt.h"

#include <algorithm>
#include <chrono>

#include "proxy/doctor/lone_link.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

// Longer for a distant or slow server: a rejection takes a part of a handshake.
milliseconds rejection_time_of(StepDuration handshake) {
  constexpr milliseconds kLeast{500};
  constexpr int kHandshakes = 4;
  return std::max(kLeast, std::chrono::ceil<milliseconds>(kHandshakes * handshake));
}

}  // namespace

SessionAttempt attempt_session(const std::shared_ptr<const Upstream>& upstream,
                               const protocol::Bytes& first_bytes, std::chrono::milliseconds budget,
                               StepDuration handshake, bool may_require_certificate) {
  const auto begin = std::chrono::steady_clock::now();
  LoneLink link(upstream, first_bytes, budget);
  SessionAttempt attempt;
  attempt.failure = link.connect();
  attempt.duration = since(begin);
  if (attempt.failure) return attempt;
  attempt.tls = link.tls();
  if (attempt.tls && (may_require_certificate || !attempt.tls->own_sha256_fingerprint.empty()))
    attempt.failure = link.await_rejection(rejection_time_of(handshake));
  link.close();
  return attempt;
}

}  // namespace pgveil::proxy
