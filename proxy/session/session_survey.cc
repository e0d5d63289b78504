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
  return {.metrics = metrics.number, .traffic = metrics.traffic.value()};
}

// The bytes of sessions that have ended are taken at the same time: a session that ends later must not be counted twice,
// since the sum must never become smaller.
void SessionSurvey::add(const SessionMetrics& metrics, const SessionActivity& activity) {
  auto entry = std::ranges::find(entries_, metrics.number, &Entry::metrics);
  if (entry == entries_.end()) entry = entries_.insert(entry, of_ended(metrics));
  ++entry->sessions[static_cast<std::size_t>(activity.state)];
  entry->traffic += activity.traffic;
}

void SessionSurvey::take(const LabelledSessions& table) {
  labelled_.reserve(table.rows().size());
  for (const auto& [key, row] : table.rows()) {
    Traffic all = row.traffic;
    all += row.running;
    labelled_.push_back({.metrics = key.first,
                         .values = key.second,
                         .sessions = row.sessions,
                         .logins = row.logins,
                         .traffic = all});
  }
}

}  // namespace pgveil::proxy
