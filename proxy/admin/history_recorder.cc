#include "proxy/admin/history_recorder.h"

#include <cstddef>
#include <new>

#include "proxy/session/session_phase.h"

namespace pgveil::proxy {
namespace {

// The first sample is taken soon, so that the history is never empty for long.
constexpr std::chrono::milliseconds kFirstDelay{100};

// After a listener was removed, the sum may be smaller than before.
std::uint64_t growth(std::uint64_t before, std::uint64_t now) {
  return now > before ? now - before : 0;
}

// Adds what the sessions of one listener do.
void add(const ProcessState::Listener& listener, const SessionSurvey::Entry& activity, SessionSample& to) {
  const PhaseGroups groups = phase_groups_of(listener);
  to.logging_in += groups.logging_in;
  to.leaving += groups.leaving;
  for (std::size_t i = 0; i < kSessionStates; ++i) to.established.at(i) += activity.sessions.at(i);
}

}  // namespace

HistoryRecorder::HistoryRecorder(uv_loop_t* loop, const ObservedProcess& process, Surveyor& surveyor)
    : process_(process), surveyor_(surveyor), next_(loop, *this) {
  next_.set(kFirstDelay);
}

void HistoryRecorder::wake() {
  try {
    take_sample();
  } catch (const std::bad_alloc&) {
    // Without memory, the history has a gap.
  }
  next_.set(kInterval);
}

void HistoryRecorder::take_sample() {
  const auto& surveys = surveyor_.survey();
  SessionSample sample{.time = std::chrono::system_clock::now()};
  Totals totals;
  for (const auto& listener : process_.state.values().listeners) {
    const SessionSurvey::Entry activity = activity_of(listener, surveys);
    add(listener, activity, sample);
    totals.logins_refused += logins_of(listener, &SessionMetrics::Logins::refused);
    totals.bytes_to_client += activity.traffic.to_client.bytes;
    totals.bytes_to_server += activity.traffic.to_server.bytes;
  }
  sample.logins_refused = growth(last_.logins_refused, totals.logins_refused);
  sample.bytes_to_client = growth(last_.bytes_to_client, totals.bytes_to_client);
  sample.bytes_to_server = growth(last_.bytes_to_server, totals.bytes_to_server);
  last_ = totals;
  history_.add(sample);
}

}  // namespace pgveil::proxy
