#include "proxy/admin/listener_totals.h"

#include <cstddef>

namespace pgveil::proxy {

SessionSurvey::Entry activity_of(const ProcessState::Listener& listener,
                                 const std::vector<SessionSurvey>& surveys) {
  SessionSurvey::Entry sum;
  for (std::size_t worker = 0; worker < surveys.size(); ++worker) {
    const SessionMetrics& metrics = *listener.usage->metrics.at(worker);
    const SessionSurvey::Entry* found = surveys[worker].find(metrics);
    const SessionSurvey::Entry entry = found != nullptr ? *found : SessionSurvey::of_ended(metrics);
    for (std::size_t state = 0; state < kSessionStates; ++state)
      sum.sessions.at(state) += entry.sessions.at(state);
    sum.traffic += entry.traffic;
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
