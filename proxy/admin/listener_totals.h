// What is counted of the sessions of one listener, summed over the workers.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "proxy/admin/observed_process.h"
#include "proxy/session/session_survey.h"

namespace pgveil::proxy {

// Asks all workers the same question.
template <class Answer>
class Questioner {
 public:
  // The workers are not asked again before, so that many requests cost little.
  static constexpr std::chrono::milliseconds kMaxAge{200};

  // `box`: the one of a worker for the question.
  Questioner(const ObservedProcess& process, AnswerBox<Answer>* ObservedWorker::*box)
      : process_(process), box_(box) {}

  // Returns the answer of each worker, and waits up to 100 ms for it. A worker that does not answer in time counts as it did
  // before, and is not waited for again until it has answered.
  [[nodiscard]] const std::vector<Answer>& answers() {
    const auto now = Clock::now();
    if (answers_.empty() || now - asked_ >= kMaxAge) ask(now);
    return answers_;
  }

  // Asks now. Returns nullopt if a worker has not answered in time.
  [[nodiscard]] std::optional<std::vector<Answer>> present_answers() {
    ask(Clock::now());
    const bool is_late = std::ranges::any_of(
        process_.workers, [this](const ObservedWorker& worker) { return (worker.*box_)->is_asked(); });
    return is_late ? std::nullopt : std::optional(answers_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void ask(Clock::time_point now) {
    constexpr std::chrono::milliseconds kPatience{100};
    asked_ = now;
    std::vector<Clock::time_point> deadlines;
    for (const ObservedWorker& worker : process_.workers) {
      deadlines.push_back((worker.*box_)->is_asked() ? now : now + kPatience);
      (worker.*box_)->ask();
      worker.wake();
    }
    std::vector<Answer> answers;
    for (std::size_t i = 0; i < process_.workers.size(); ++i)
      answers.push_back((process_.workers[i].*box_)->wait_until(deadlines[i]));
    answers_ = std::move(answers);
  }

  const ObservedProcess& process_;
  AnswerBox<Answer>* ObservedWorker::*const box_;
  std::vector<Answer> answers_;
  Clock::time_point asked_{};
};

// Asks the workers what their sessions do.
class Surveyor : private Questioner<SessionSurvey> {
 public:
  using Questioner::kMaxAge;
  explicit Surveyor(const ObservedProcess& process) : Questioner(process, &ObservedWorker::survey) {}
  [[nodiscard]] const std::vector<SessionSurvey>& survey() { return answers(); }
};

// Returns the sum of the surveys for one listener.
[[nodiscard]] SessionSurvey::Entry activity_of(const ProcessState::Listener& listener,
                                               const std::vector<SessionSurvey>& surveys);

// The clients of one listener by what they do.
struct PhaseGroups {
  std::uint64_t logging_in = 0;  // they are not established yet
  std::uint64_t established = 0;
  std::uint64_t leaving = 0;  // sessions that end, and cancel requests
};
[[nodiscard]] PhaseGroups phase_groups_of(const ProcessState::Listener& listener);

// Returns the number of logins with this outcome, whatever rule matched.
[[nodiscard]] std::uint64_t logins_of(const ProcessState::Listener& listener,
                                      Counter SessionMetrics::Logins::*outcome);

// Returns the durations that `histogram` returns for the metrics of a worker, over all workers.
[[nodiscard]] DurationHistogram::Sum durations_of(const ProcessState::Listener& listener,
                                                  const DurationHistogram& (*histogram)(SessionMetrics&));

// Histograms of a worker, for durations_of().
template <SessionPhase Phase>
const DurationHistogram& duration_of(SessionMetrics& metrics) {
  return metrics.duration_of(Phase);
}
inline const DurationHistogram& start_of(SessionMetrics& metrics) {
  return metrics.start;
}

// Returns the sum over all workers of what `value` returns for the metrics of one.
template <class Value>
double sum_of(const ProcessState::Listener& listener, const Value& value) {
  double sum = 0;
  for (const auto& worker : listener.usage->metrics) sum += static_cast<double>(value(*worker));
  return sum;
}

}  // namespace pgveil::proxy
