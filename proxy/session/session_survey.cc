#include "proxy/session/session_survey.h"

namespace pgveil::proxy {

std::string_view name_of(SessionState state) {
  switch (state) {
    case SessionState::idle: return "idle";
    case SessionState::in_transaction: return "in_transaction";
    case SessionState::active: return "active";
  }
  return "?";
}

SessionSurvey::Entry SessionSurvey::of_ended(const SessionMetrics& metrics) {
  return {.metrics = metrics.number,
          .bytes_to_client = metrics.bytes_to_client.value(),
          .bytes_to_server = metrics.bytes_to_server.value(),
          .messages_to_client = metrics.messages_to_client.value(),
          .messages_to_server = metrics.messages_to_server.value(),
          .paused_by_client = metrics.paused_by_client.value(),
          .paused_by_server = metrics.paused_by_server.value()};
}

// The bytes of sessions that have ended are taken at the same time: a session that ends later must not be counted twice,
// since the sum must never become smaller.
void SessionSurvey::add(const SessionMetrics& metrics, const SessionActivity& activity) {
  auto entry = std::ranges::find(entries_, metrics.number, &Entry::metrics);
  if (entry == entries_.end()) entry = entries_.insert(entry, of_ended(metrics));
  ++entry->sessions[static_cast<std::size_t>(activity.state)];
  entry->bytes_to_client += activity.bytes_to_client;
  entry->bytes_to_server += activity.bytes_to_server;
  entry->messages_to_client += activity.messages_to_client;
  entry->messages_to_server += activity.messages_to_server;
  entry->paused_by_client += static_cast<std::uint64_t>(activity.paused_by_client.count());
  entry->paused_by_server += static_cast<std::uint64_t>(activity.paused_by_server.count());
}

}  // namespace pgveil::proxy
