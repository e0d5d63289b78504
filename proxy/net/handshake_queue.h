// Steps of TLS handshakes, one in a turn of the loop. Such a step takes about as long as a hundred messages
// take to be relayed; where many clients connect at once, those that are connected would wait for all of
// them.
#pragma once

#include <cstddef>
#include <deque>

#include "proxy/base/handle.h"

namespace pgveil::proxy {

class HandshakeTurns {
 public:
  class Place;

  explicit HandshakeTurns(uv_loop_t* loop);
  HandshakeTurns(const HandshakeTurns&) = delete;
  HandshakeTurns& operator=(const HandshakeTurns&) = delete;

 private:
  static constexpr std::size_t kCrowd = 16;

  void grant_next();

  std::deque<Place*> waiting_;    // first come, first served
  bool taken_ = false;            // the step of this turn
  Handle<uv_check_t> turn_over_;  // does not keep the loop alive
  Handle<uv_idle_t> waker_;       // runs while somebody waits
};

// Of one handshake. Both `turns` and `owner` must outlive it.
class HandshakeTurns::Place {
 public:
  Place(HandshakeTurns& turns, Wakeable& owner) : turns_(turns), owner_(owner) {}
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // Whether a step may be made now. If not, the owner is woken when it may.
  [[nodiscard]] bool take();
  // Whether so many wait that whoever waits had better pause its stream: what has come would wake it in every
  // turn, which for a few costs less than to change the watch.
  [[nodiscard]] bool is_in_a_crowd() const { return turns_.waiting_.size() > kCrowd; }

 private:
  friend class HandshakeTurns;

  HandshakeTurns& turns_;
  Wakeable& owner_;
  bool is_waiting_ = false;
  bool is_granted_ = false;
};

}  // namespace pgveil::proxy
