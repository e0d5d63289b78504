// The page /sessions: the sessions of the process as JSON, for `pgveil sessions` and for programs. docs/monitoring.md
// describes its keys.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "proxy/admin/http_message.h"
#include "proxy/admin/listener_totals.h"
#include "proxy/admin/observed_process.h"
#include "proxy/session/session_list.h"

namespace pgveil::proxy {

// Asks the workers for their sessions.
class SessionLister : private Questioner<SessionList> {
 public:
  explicit SessionLister(const ObservedProcess& process) : Questioner(process, &ObservedWorker::sessions) {}
  // The list of each worker.
  [[nodiscard]] const std::vector<SessionList>& sessions() { return answers(); }
  // The same, asked now. Returns nullopt if a worker has not answered in time.
  [[nodiscard]] std::optional<std::vector<SessionList>> present_sessions() { return present_answers(); }
};

// The content of the page. The oldest session comes first.
[[nodiscard]] nlohmann::ordered_json json_of(const std::vector<SessionList>& sessions);
[[nodiscard]] HttpResponse sessions_page(const std::vector<SessionList>& sessions);

// Returns whether the session is in the lists.
[[nodiscard]] bool is_listed(const std::vector<SessionList>& sessions, SessionId id);

}  // namespace pgveil::proxy
