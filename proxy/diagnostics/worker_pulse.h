// Whether a worker completes turns of its loop, and how long it delays them. The admin thread asks, the worker answers.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>

#include "proxy/diagnostics/metrics.h"

namespace pgveil::proxy {

class WorkerPulse {
 public:
  using Clock = std::chrono::steady_clock;

  // Called by the admin thread. Begins a question, and returns true: the worker must then be woken. Returns false if the
  // last question is not answered yet.
  [[nodiscard]] bool ask(Clock::time_point now) {
    if (is_asked_.load(std::memory_order_acquire)) return false;
    asked_at_ = now;
    is_asked_.store(true, std::memory_order_release);
    return true;
  }
  // Returns the time since the question, if the worker has not answered it; otherwise nullopt. Called by the admin thread.
  [[nodiscard]] std::optional<Clock::duration> silence(Clock::time_point now) const {
    if (!is_asked_.load(std::memory_order_acquire)) return std::nullopt;
    return now - asked_at_;
  }

  // Called by the worker, in each turn in which it was woken.
  void answer() {
    if (!is_asked_.load(std::memory_order_acquire)) return;
    delays_.add(Clock::now() - asked_at_);
    is_asked_.store(false, std::memory_order_release);
  }

  // The times from a question to its answer. Every thread may read them.
  [[nodiscard]] const DurationHistogram& delays() const { return delays_; }

 private:
  std::atomic<bool> is_asked_{false};
  Clock::time_point asked_at_{};  // written by ask(), while is_asked_ is false
  DurationHistogram delays_;
};

}  // namespace pgveil::proxy
