// What sessions did over the last minutes: a sample every few seconds, and a limited number of them.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "proxy/session/session_survey.h"

namespace pgveil::proxy {

// The sums over all listeners.
struct SessionSample {
  std::chrono::system_clock::time_point time;
  std::uint64_t logging_in = 0;  // clients that are not established yet
  std::array<std::uint64_t, kSessionStates> established{};
  std::uint64_t leaving = 0;  // sessions that end, and cancel requests
  // Since the sample before.
  std::uint64_t logins_refused = 0;
  std::uint64_t bytes_to_client = 0;
  std::uint64_t bytes_to_server = 0;
};

class SessionHistory {
 public:
  // `capacity`: the largest number of samples, at least one.
  explicit SessionHistory(std::size_t capacity) : capacity_(capacity) { samples_.reserve(capacity); }

  // Removes the oldest sample if there is no room.
  void add(const SessionSample& sample) {
    if (samples_.size() < capacity_) return samples_.push_back(sample);
    samples_[oldest_] = sample;
    oldest_ = (oldest_ + 1) % capacity_;
  }
  // Returns all samples, the oldest one first.
  [[nodiscard]] std::vector<SessionSample> samples() const {
    std::vector<SessionSample> ordered = samples_;
    std::rotate(ordered.begin(), ordered.begin() + static_cast<std::ptrdiff_t>(oldest_), ordered.end());
    return ordered;
  }

 private:
  std::size_t capacity_;
  std::vector<SessionSample> samples_;
  std::size_t oldest_ = 0;  // its place in `samples_`
};

}  // namespace pgveil::proxy
