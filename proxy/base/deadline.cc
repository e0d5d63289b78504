#include "proxy/base/deadline.h"

#include <algorithm>

namespace pgveil::proxy {

std::chrono::milliseconds time_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::nanoseconds(uv_hrtime()));
}

void Deadline::set(std::chrono::milliseconds delay) {
  clear();
  if (delay.count() <= 0) {
    timer_.reset();
    return;
  }
  if (!timer_) {
    timer_.reset(new uv_timer_t);
    uv_timer_init(loop_, timer_.get());
    timer_->data = this;
  }
  // libuv counts from uv_now(), so the time since then is added. The loop's time is not updated here: a timer
  // that is set again by its own callback could then be due again at once, and libuv would never leave its
  // loop over the timers.
  const auto since_wake_up =
      std::max(time_now() - std::chrono::milliseconds(uv_now(loop_)), std::chrono::milliseconds(0));
  uv_timer_start(
      timer_.get(),
      [](uv_timer_t* timer) {
        auto* self = static_cast<Deadline*>(timer->data);
        self->passed_ = true;
        self->owner_.wake();
      },
      static_cast<std::uint64_t>((delay + since_wake_up).count()), 0);
}

std::optional<std::chrono::milliseconds> Deadline::left() const {
  if (!timer_ || uv_is_active(reinterpret_cast<const uv_handle_t*>(timer_.get())) == 0) return std::nullopt;
  return std::chrono::milliseconds(uv_timer_get_due_in(timer_.get()));
}

void Deadline::clear() {
  passed_ = false;
  if (timer_) uv_timer_stop(timer_.get());
}

}  // namespace pgveil::proxy
