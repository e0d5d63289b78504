#include "proxy/deadline.h"

namespace pgveil::proxy {

Deadline::Deadline(uv_loop_t* loop, Wakeable& owner) : owner_(owner), timer_(new uv_timer_t) {
  uv_timer_init(loop, timer_.get());
  timer_->data = this;
}

void Deadline::set(std::chrono::milliseconds delay) {
  clear();
  if (delay.count() <= 0) return;
  uv_timer_start(
      timer_.get(),
      [](uv_timer_t* timer) {
        auto* self = static_cast<Deadline*>(timer->data);
        self->passed_ = true;
        self->owner_.wake();
      },
      static_cast<std::uint64_t>(delay.count()), 0);
}

void Deadline::clear() {
  passed_ = false;
  uv_timer_stop(timer_.get());
}

}  // namespace pgveil::proxy
