// What is counted of the sessions of one listener in one worker. The thread of the worker changes it; every thread may
// read it. docs/metrics.md describes the metrics that are made of it.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "protocol/hba.h"
#include "proxy/diagnostics/metrics.h"
#include "proxy/diagnostics/reason.h"
#include "proxy/session/handshake_counts.h"
#include "proxy/session/session_phase.h"
#include "proxy/session/traffic.h"

namespace pgveil::proxy {

struct SessionMetrics {
  // Of the logins that a rule has matched.
  struct Logins {
    Counter accepted;
    Counter refused;
  };

  const std::uint64_t number =
      next_number();  // unique in the process, unlike an address, which may be used again
  Counter accepted;   // connections of clients
  std::array<Gauge, kSessionPhases> in_phase;
  std::array<Counter, kReasonCount> ended;  // by reason
  std::array<Logins, protocol::kHbaMethods> logins;
  Logins logins_without_rule;

  // By phase, of those for which is_timed() is true.
  std::array<DurationHistogram, kSessionPhases> phase_duration;
  DurationHistogram start;  // from accept to the server's ReadyForQuery
  DurationHistogram session{DurationHistogram::kOfSessions};
  HandshakeCounts client_handshakes;
  HandshakeCounts upstream_handshakes;
  FailedHandshakeCounts failed_client_handshakes;
  FailedHandshakeCounts failed_upstream_handshakes;
  TrafficCounters traffic;  // of sessions that have ended

  [[nodiscard]] static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  // Call these when a session begins, and when it changes its phase.
  void on_begin() {
    accepted.add();
    of(SessionPhase::negotiate).add(1);
  }
  // Call this for a client whose session could not begin.
  void on_not_begun(Reason reason) {
    accepted.add();
    of(reason).add();
  }
  void on_change(SessionPhase from, SessionPhase to) {
    of(from).add(-1);
    if (to != SessionPhase::closed) of(to).add(1);
  }

  // Returns whether the duration of the phase is counted.
  [[nodiscard]] static constexpr bool is_timed(SessionPhase phase) {
    return phase == SessionPhase::accept_tls || phase == SessionPhase::connect ||
           phase == SessionPhase::verify_upstream || phase == SessionPhase::log_in;
  }
  [[nodiscard]] DurationHistogram& duration_of(SessionPhase phase) {
    return phase_duration[static_cast<std::size_t>(phase)];
  }

  [[nodiscard]] Gauge& of(SessionPhase phase) { return in_phase[static_cast<std::size_t>(phase)]; }
  [[nodiscard]] Logins& of(protocol::HbaMethod method) { return logins[static_cast<std::size_t>(method)]; }
  [[nodiscard]] Counter& of(Reason reason) { return ended[static_cast<std::size_t>(reason)]; }
};

}  // namespace pgveil::proxy
