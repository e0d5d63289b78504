#include "proxy/net/handshake_queue.h"

namespace pgveil::proxy {

HandshakeQueue::HandshakeQueue(uv_loop_t* loop) : turn_over_(new uv_check_t), waker_(new uv_idle_t) {
  uv_check_init(loop, turn_over_.get());
  turn_over_->data = this;
  uv_check_start(turn_over_.get(),
                 [](uv_check_t* check) { static_cast<HandshakeQueue*>(check->data)->taken_ = false; });
  uv_unref(reinterpret_cast<uv_handle_t*>(turn_over_.get()));
  uv_idle_init(loop, waker_.get());
  waker_->data = this;
}

// Runs before the loop polls for events, so that the next handshake in the queue gets the step of this turn,
// and not a handshake for which an event arrives.
void HandshakeQueue::grant_next() {
  if (waiting_.empty()) {
    uv_idle_stop(waker_.get());
    return;
  }
  Slot& next = *waiting_.front();
  waiting_.pop_front();
  taken_ = true;
  next.is_waiting_ = false;
  next.is_granted_ = true;
  next.owner_.wake();
}

HandshakeQueue::Slot::~Slot() {
  if (is_waiting_) std::erase(queue_.waiting_, this);
}

bool HandshakeQueue::Slot::take() {
  if (is_granted_) {
    is_granted_ = false;
    return true;
  }
  if (is_waiting_) return false;
  if (!queue_.taken_ && queue_.waiting_.empty()) {
    queue_.taken_ = true;
    return true;
  }
  queue_.waiting_.push_back(this);
  is_waiting_ = true;
  uv_idle_start(queue_.waker_.get(),
                [](uv_idle_t* idle) { static_cast<HandshakeQueue*>(idle->data)->grant_next(); });
  return false;
}

}  // namespace pgveil::proxy
