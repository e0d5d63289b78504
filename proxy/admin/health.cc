#include "proxy/admin/health.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>

namespace pgveil::proxy {

std::vector<std::string> why_not_live(const ObservedProcess& process) {
  const auto now = WorkerPulse::Clock::now();
  const auto limit = process.state.liveness_limit();
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < process.workers.size(); ++i)
    if (const auto silence = process.workers[i].pulse->silence(now); silence && *silence > limit)
      reasons.push_back(fmt::format("worker {} has not completed a turn of its loop for {:.1f} s", i + 1,
                                    std::chrono::duration<double>(*silence).count()));
  return reasons;
}

std::vector<std::string> why_not_started(const ProcessState::Values& values) {
  if (!values.listeners.empty()) return {};
  return {"no listener is open yet"};
}

std::vector<std::string> why_not_ready(const ProcessState::Values& values) {
  std::vector<std::string> reasons;
  if (values.listeners.empty()) reasons.emplace_back("no listener is open");
  if (values.last_reload_failed) reasons.emplace_back("the last reload failed; the log has the errors");
  if (values.is_draining) reasons.emplace_back("pgveil drains: it stops");
  return reasons;
}

}  // namespace pgveil::proxy
