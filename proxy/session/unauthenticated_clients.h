// The number of clients that have not logged in yet, in the whole process or of one listener. It has a maximum; further
// clients wait in the listener's queue in the kernel.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

namespace pgveil::proxy {

class UnauthenticatedClients {
 public:
  // `when_room` is called once after each is_full() that returned true, in the thread in which a client leaves.
  UnauthenticatedClients(std::size_t max, std::function<void()> when_room)
      : max_(max), when_room_(std::move(when_room)) {}

  // For the thread that accepts clients.
  [[nodiscard]] bool is_full() {
    if (!is_at_max()) return false;
    room_is_wanted_ = true;
    // Checks again: a client may have left before room_is_wanted_ was set.
    return is_at_max();
  }
  void enter() { ++count_; }
  // Sets the maximum. Clients that are already counted stay.
  void set_max(std::size_t max) { max_ = max; }

  // For any thread.
  void leave() {
    --count_;
    if (room_is_wanted_.exchange(false)) when_room_();
  }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] std::size_t max() const { return max_; }
  [[nodiscard]] bool is_at_max() const { return count_ >= max_; }

 private:
  std::atomic<std::size_t> max_;
  const std::function<void()> when_room_;
  // Sequentially consistent, so that leave() and is_full() cannot miss each other.
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> room_is_wanted_{false};
};

}  // namespace pgveil::proxy
