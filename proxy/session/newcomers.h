// The clients that have not logged in yet, counted for the whole process: at most so many are served, and the
// others wait in the kernel's queue of the listener.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

namespace pgveil::proxy {

class Newcomers {
 public:
  // `when_room`: is called in the thread in which a client leaves, once after each is_full() that returned
  // true.
  Newcomers(std::size_t most, std::function<void()> when_room)
      : most_(most), when_room_(std::move(when_room)) {}

  // For the thread that accepts clients.
  [[nodiscard]] bool is_full() {
    if (count_ < most_) return false;
    room_is_wanted_ = true;
    // Looks again: the last one may have left before it could know that somebody waits.
    return count_ >= most_;
  }
  void enter() { ++count_; }

  // For any thread.
  void leave() {
    --count_;
    if (room_is_wanted_.exchange(false)) when_room_();
  }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  const std::size_t most_;
  const std::function<void()> when_room_;
  // Sequentially consistent, so that leave() and is_full() cannot miss each other.
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> room_is_wanted_{false};
};

}  // namespace pgveil::proxy
