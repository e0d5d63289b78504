#include "proxy/doctor/session_attempt.h"

#include <chrono>

#include "proxy/doctor/lone_link.h"

namespace pgveil::proxy {

SessionAttempt attempt_session(const std::shared_ptr<const Upstream>& upstream,
                               const protocol::Bytes& first_bytes, std::chrono::milliseconds budget,
                               std::chrono::milliseconds rejection_time) {
  const auto begin = std::chrono::steady_clock::now();
  LoneLink link(upstream, first_bytes, budget);
  SessionAttempt attempt;
  attempt.failure = link.connect();
  attempt.duration = since(begin);
  if (attempt.failure) return attempt;
  attempt.tls = link.tls();
  if (rejection_time.count() > 0) attempt.failure = link.await_rejection(rejection_time);
  link.close();
  return attempt;
}

}  // namespace pgveil::proxy
