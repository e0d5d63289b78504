#include "proxy/upstream/preconnect_schedule.h"

#include <algorithm>

namespace pgveil::proxy {

std::size_t PreconnectSchedule::to_dial(Time now, std::size_t present) const {
  if (present >= wanted_) return 0;
  if (!is_failing()) return wanted_ - present;
  return is_probing_ || now < retry_at_ ? 0 : 1;
}

bool PreconnectSchedule::dialled() {
  if (is_failing()) is_probing_ = true;
  return is_probing_;
}

bool PreconnectSchedule::failed(Time now, bool was_probe) {
  // A failure after the first one belongs to the same outage.
  if (is_failing() && !was_probe) return false;
  constexpr unsigned kDoublings = 7;  // enough to get from kFirstDelay to kLongestDelay
  is_probing_ = false;
  retry_at_ = now + std::min(kFirstDelay * (1 << std::min(failures_, kDoublings)), kLongestDelay);
  return ++failures_ == 1;
}

void PreconnectSchedule::proven() {
  failures_ = 0;
  is_probing_ = false;
}

std::optional<PreconnectSchedule::Time> PreconnectSchedule::next_attempt() const {
  return is_failing() && !is_probing_ ? std::optional(retry_at_) : std::nullopt;
}

}  // namespace pgveil::proxy
