// One timer that wakes its owner.
#pragma once

#include <uv.h>

#include <chrono>
#include <optional>

#include "proxy/base/handle.h"

namespace pgveil::proxy {

// Returns the present time in milliseconds, on the clock of the loops. uv_now() may be older: it does not
// change while the loop runs its callbacks, however long they take.
[[nodiscard]] std::chrono::milliseconds time_now();

class Deadline {
 public:
  Deadline(uv_loop_t* loop, Wakeable& owner) : loop_(loop), owner_(owner) {}

  // Wakes the owner after `delay` from now, and replaces an earlier setting. 0 means never, and uses no timer.
  void set(std::chrono::milliseconds delay);
  void clear();
  [[nodiscard]] bool passed() const { return passed_; }
  // The time until it passes; nullopt: no time is set, or it has passed.
  [[nodiscard]] std::optional<std::chrono::milliseconds> left() const;

 private:
  uv_loop_t* loop_;
  Wakeable& owner_;
  Handle<uv_timer_t> timer_;  // created by set(), destroyed by set(0)
  bool passed_ = false;
};

}  // namespace pgveil::proxy
