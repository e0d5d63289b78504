// Carries an answer from a worker to the admin thread, which waits for it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace pgveil::proxy {

template <class Answer>
class AnswerBox {
 public:
  // Called by the admin thread: asks for an answer. The worker must then be woken.
  void ask() { is_asked_.store(true, std::memory_order_release); }
  // Called by the admin thread: waits until the worker has answered, or the time has come. Returns its last answer.
  [[nodiscard]] Answer wait_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    answered_.wait_until(lock, deadline, [this] { return !is_asked(); });
    return answer_;
  }

  // Whether the worker has not answered the last question yet. May be called by both.
  [[nodiscard]] bool is_asked() const { return is_asked_.load(std::memory_order_acquire); }
  // Called by the worker.
  void answer(Answer answer) {
    {
      const std::lock_guard lock(mutex_);
      answer_ = std::move(answer);
      is_asked_.store(false, std::memory_order_release);
    }
    answered_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable answered_;
  std::atomic<bool> is_asked_{false};
  Answer answer_;
};

}  // namespace pgveil::proxy
