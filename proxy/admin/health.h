// Why the process is not healthy, in sentences for people. Empty: it is.
#pragma once

#include <string>
#include <vector>

#include "proxy/admin/observed_process.h"

namespace pgveil::proxy {

// Workers that have not completed a turn of their loop within liveness_limit.
[[nodiscard]] std::vector<std::string> why_not_live(const ObservedProcess& process);
// No listener has been opened yet.
[[nodiscard]] std::vector<std::string> why_not_started(const ProcessState::Values& values);
// No open listener, a reload that failed, or a drain.
[[nodiscard]] std::vector<std::string> why_not_ready(const ProcessState::Values& values);

}  // namespace pgveil::proxy
