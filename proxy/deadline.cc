#include "proxy/deadline.h"

namespace pgveil::proxy {

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
  uv_timer_start(
      timer_.get(),
      [](uv_timer_t* timer) {
        auto* self = static_cast<Deadline*>(timer->data);
        self->passed_ = true;
        self->owner_.wake();
      },
      static_cast<std::uint64_t>(delay.count()), 0);
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
