#include "proxy/admin/listener_totals.h"

#include <cstddef>

namespace pgveil::proxy {

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

}  // namespace pgveil::proxy
