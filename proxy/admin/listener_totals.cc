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
    sum.bytes_to_client += entry.bytes_to_client;
    sum.bytes_to_server += entry.bytes_to_server;
    sum.messages_to_client += entry.messages_to_client;
    sum.messages_to_server += entry.messages_to_server;
    sum.paused_by_client += entry.paused_by_client;
    sum.paused_by_server += entry.paused_by_server;
  }
  return sum;
}

}  // namespace pgveil::proxy
