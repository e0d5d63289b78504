// One point in time at which its owner is woken.
#pragma once

#include <uv.h>

#include <chrono>
#include <optional>

#include "proxy/base/handle.h"

namespace pgveil::proxy {

// The time now, in milliseconds, on the clock of the loops. uv_now() is older: it stands still while the loop
// calls what has become ready, however long that takes.
[[nodiscard]] std::chrono::milliseconds time_now();

class Deadline {
 public:
  Deadline(uv_loop_t* loop, Wakeable& owner) : loop_(loop), owner_(owner) {}

  // Wakes the owner after `delay` from now, instead of whatever was set before. 0 means never, and holds no
  // timer.
  void set(std::chrono::milliseconds delay);
  void clear();
  [[nodiscard]] bool passed() const { return passed_; }
  // How long until it passes; nullopt: never, or it has passed.
  [[nodiscard]] std::optional<std::chrono::milliseconds> left() const;

 private:
  uv_loop_t* loop_;
  Wakeable& owner_;
  Handle<uv_timer_t> timer_;  // made by set(), and gone with set(0)
  bool passed_ = false;
};

}  // namespace pgveil::proxy
