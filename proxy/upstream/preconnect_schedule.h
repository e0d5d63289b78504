// The schedule of dialling pre-established connections, and of the delays after a server has failed. It reads
// no clock: the caller passes in the time.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

namespace pgveil::proxy {

class PreconnectSchedule {
 public:
  using Time = std::chrono::milliseconds;  // from any fixed time, monotonic

  // The delay between a failed attempt and the next one: the first delay, doubled each time, up to the
  // longest.
  static constexpr Time kFirstDelay{250};
  static constexpr Time kLongestDelay{30'000};
  // A server may complete the handshake and then refuse pgveil's certificate (TLS 1.3). Only a connection
  // that has existed for this time ends the back-off.
  static constexpr Time kProof{1'000};

  explicit PreconnectSchedule(std::size_t wanted) : wanted_(wanted) {}

  // Returns how many connections to dial now. `present`: those that exist or are being made. After a failure
  // there is only one attempt at a time, the probe, each after its delay.
  [[nodiscard]] std::size_t to_dial(Time now, std::size_t present) const;
  // Notes that a connection is dialled. Returns whether it is the probe.
  bool dialled();
  // Notes that an attempt failed, or that the server closed a connection. Returns whether this is the first
  // failure of an outage.
  bool failed(Time now, bool was_probe);
  // Notes that a session took the probe before kProof: the next probe may follow immediately.
  void lost_sight_of_probe() { is_probing_ = false; }
  // Notes that the probe has existed for kProof.
  void proven();

  [[nodiscard]] bool is_failing() const { return failures_ > 0; }
  // Returns when to call to_dial() again; nullopt: after the next event.
  [[nodiscard]] std::optional<Time> next_attempt() const;

 private:
  std::size_t wanted_;
  unsigned failures_ = 0;  // consecutive failures
  bool is_probing_ = false;
  Time retry_at_{0};
};

}  // namespace pgveil::proxy
