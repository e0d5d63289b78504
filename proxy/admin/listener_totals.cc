#include "proxy/admin/listener_totals.h"

#include <cstddef>
#include <utility>

namespace pgveil::proxy {

const std::vector<SessionSurvey>& Surveyor::survey() {
  constexpr std::chrono::milliseconds kPatience{100};
  const auto now = Clock::now();
  if (!surveys_.empty() && now - asked_ < kMaxAge) return surveys_;
  asked_ = now;
  std::vector<Clock::time_point> deadlines;
  for (const ObservedWorker& worker : process_.workers) {
    deadlines.push_back(worker.survey->is_asked() ? now : now + kPatience);
    worker.survey->ask();
    worker.wake();
  }
  std::vector<SessionSurvey> surveys;
  for (std::size_t i = 0; i < process_.workers.size(); ++i)
    surveys.push_back(process_.workers[i].survey->wait_until(deadlines[i]));
  surveys_ = std::move(surveys);
  return surveys_;
}

SessionSurvey::Entry activity_of(const ProcessState::Listener& listener,
                                 const std::vector<SessionSurvey>& surveys) {
  SessionSurvey::Entry sum;
  for (std::size_t worker = 0; worker < surveys.size(); ++worker) {
    const SessionMetrics& metrics = *listener.usage->metrics.at(worker);
    const SessionSurvey::Entry* found = surveys[worker].find(metrics);
    for (std::size_t state = 0; state < kSessionStates && found != nullptr; ++state)
      sum.sessions.at(state) += found->sessions.at(state);
    sum.bytes_to_client += found != nullptr ? found->bytes_to_client : metrics.bytes_to_client.value();
    sum.bytes_to_server += found != nullptr ? found->bytes_to_server : metrics.bytes_to_server.value();
  }
  return sum;
}

PhaseGroups phase_groups_of(const ProcessState::Listener& listener) {
  PhaseGroups groups;
  for (std::size_t i = 0; i < static_cast<std::size_t>(SessionPhase::closed); ++i) {
    const auto phase = static_cast<SessionPhase>(i);
    const auto count = static_cast<std::uint64_t>(
        sum_of(listener, [i](const SessionMetrics& each) { return each.in_phase.at(i).value(); }));
    if (phase == SessionPhase::relay)
      groups.established += count;
    else
      (phase < SessionPhase::relay ? groups.logging_in : groups.leaving) += count;
  }
  return groups;
}

std::uint64_t logins_of(const ProcessState::Listener& listener, Counter SessionMetrics::Logins::*outcome) {
  std::uint64_t all = 0;
  for (const auto& worker : listener.usage->metrics) {
    all += (worker->logins_without_rule.*outcome).value();
    for (const auto& method : worker->logins) all += (method.*outcome).value();
  }
  return all;
}

DurationHistogram::Sum durations_of(const ProcessState::Listener& listener,
                                    const DurationHistogram& (*histogram)(SessionMetrics&)) {
  DurationHistogram::Sum sum;
  for (const auto& worker : listener.usage->metrics) histogram(*worker).add_to(sum);
  return sum;
}

}  // namespace pgveil::proxy
