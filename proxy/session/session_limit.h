// A counter with a limit that all threads share. It never exceeds the limit, and take() fails only if the limit is
// reached.
#pragma once

#include <atomic>
#include <cstddef>

namespace pgveil::proxy {

class SessionLimit {
 public:
  // Takes one, unless `most` are taken. If it returns false, release() must not be called.
  [[nodiscard]] bool acquire(std::size_t most) {
    std::size_t taken = taken_.load(std::memory_order_relaxed);
    do {
      if (taken >= most) return false;
    } while (!taken_.compare_exchange_weak(taken, taken + 1, std::memory_order_relaxed));
    return true;
  }
  void release() { taken_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::size_t taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t> taken_{0};
};

}  // namespace pgveil::proxy
