// A queue for the steps of TLS handshakes: one step is made in each turn of the loop. A step takes about as
// long as relaying a hundred messages. Without the queue, established sessions would wait for all steps when
// many clients connect at once.
#pragma once

#include <cstddef>
#include <deque>

#include "proxy/base/handle.h"

namespace pgveil::proxy {

class HandshakeQueue {
 public:
  class Slot;

  explicit HandshakeQueue(uv_loop_t* loop);
  HandshakeQueue(const HandshakeQueue&) = delete;
  HandshakeQueue& operator=(const HandshakeQueue&) = delete;

 private:
  static constexpr std::size_t kCrowd = 16;

  void grant_next();

  std::deque<Slot*> waiting_;     // first in, first out
  bool taken_ = false;            // the step of this turn has been made
  Handle<uv_check_t> turn_over_;  // does not keep the loop running
  Handle<uv_idle_t> waker_;       // active while a handshake waits
};

// The place of one handshake in the queue. Both `queue` and `owner` must outlive it.
class HandshakeQueue::Slot {
 public:
  Slot(HandshakeQueue& queue, Wakeable& owner) : queue_(queue), owner_(owner) {}
  ~Slot();
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  // Returns whether a step may be made now. If not, the owner is woken when it may be made.
  [[nodiscard]] bool take();
  // Returns whether so many handshakes wait that a waiting one should pause its stream. Unread bytes of a
  // stream that is not paused wake its owner in every turn. For a few handshakes this costs less than a
  // change of the watch.
  [[nodiscard]] bool is_in_a_crowd() const { return queue_.waiting_.size() > kCrowd; }

 private:
  friend class HandshakeQueue;

  HandshakeQueue& queue_;
  Wakeable& owner_;
  bool is_waiting_ = false;
  bool is_granted_ = false;
};

}  // namespace pgveil::proxy
