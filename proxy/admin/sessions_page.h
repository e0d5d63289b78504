// The page /sessions: the sessions of the process as JSON, for `pgveil sessions` and for programs. docs/monitoring.md
// describes its keys.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
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
};

// The oldest session comes first.
[[nodiscard]] HttpResponse sessions_page(const std::vector<SessionList>& sessions);

struct SessionPlace {
  std::size_t worker;  // from 0 on
  SessionId id;
};
// Returns where the session with this name is; nullopt: nowhere.
[[nodiscard]] std::optional<SessionPlace> find_session(const std::vector<SessionList>& sessions,
                                                       std::string_view name);

}  // namespace pgveil::proxy
