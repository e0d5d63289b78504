// Which settings a reload cannot change.
#pragma once

#include <string>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// Returns the names of the settings that need a restart and differ: "limits.workers, log.format". Empty: none.
[[nodiscard]] std::string changed_restart_settings(const LimitsConfig& old_limits,
                                                   const LimitsConfig& new_limits, const LogConfig& old_log,
                                                   const LogConfig& new_log);

}  // namespace pgveil::proxy
