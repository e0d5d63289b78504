// When connections that are made ahead of sessions are dialled, and how long a server that fails is left
// alone. Times come in and decisions go out: the clock is the caller's.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

namespace pgveil::proxy {

class PrewarmSchedule {
 public:
  using Time = std::chrono::milliseconds;  // since whenever, never backwards

  // Between an attempt that failed and the next one: at first, then twice as long each time.
  static constexpr Time kFirstDelay{250};
  static constexpr Time kLongestDelay{30'000};
  // A server may complete the handshake and refuse us thereafter (TLS 1.3: our certificate). Only a
  // connection that has stood so long ends the back-off.
  static constexpr Time kProof{1'000};

  explicit PrewarmSchedule(std::size_t wanted) : wanted_(wanted) {}

  // How many to dial now. `present`: those that are there or on their way. After a failure there is one
  // attempt at a time, the probe, and the next one not before its delay.
  [[nodiscard]] std::size_t to_dial(Time now, std::size_t present) const;
  // One has been dialled. Returns whether it is the probe.
  bool dialled();
  // An attempt failed, or its server closed it. Returns whether that is news: the first of an outage.
  bool failed(Time now, bool was_probe);
  // A session took the probe before it had proven anything: the next one may follow at once.
  void lost_sight_of_probe() { is_probing_ = false; }
  // The probe has stood for kProof.
  void proven();

  [[nodiscard]] bool is_failing() const { return failures_ > 0; }
  // When to ask to_dial() again; nullopt: after the next event.
  [[nodiscard]] std::optional<Time> next_attempt() const;

 private:
  std::size_t wanted_;
  unsigned failures_ = 0;  // in a row
  bool is_probing_ = false;
  Time retry_at_{0};
};

}  // namespace pgveil::proxy
