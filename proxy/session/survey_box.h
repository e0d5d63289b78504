// Carries a survey from a worker to the admin thread, which waits for it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "proxy/session/session_survey.h"

namespace pgveil::proxy {

class SurveyBox {
 public:
  // Called by the admin thread: asks for a survey. The worker must then be woken.
  void ask() { is_asked_.store(true, std::memory_order_release); }
  // Called by the admin thread: waits until the worker has answered, or the time has come. Returns its last answer.
  [[nodiscard]] SessionSurvey wait_until(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    answered_.wait_until(lock, deadline, [this] { return !is_asked(); });
    return survey_;
  }

  // Called by the worker.
  [[nodiscard]] bool is_asked() const { return is_asked_.load(std::memory_order_acquire); }
  void answer(SessionSurvey survey) {
    {
      const std::lock_guard lock(mutex_);
      survey_ = std::move(survey);
      is_asked_.store(false, std::memory_order_release);
    }
    answered_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable answered_;
  std::atomic<bool> is_asked_{false};
  SessionSurvey survey_;
};

}  // namespace pgveil::proxy
