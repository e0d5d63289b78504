// Which settings a reload cannot change.
#pragma once

#include <string>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// The sections that are about the process as a whole.
struct ProcessSettings {
  LimitsConfig limits;
  LogConfig log;
  AuditConfig audit;
  AdminConfig admin;
};
// Returns the names of the settings that need a restart and differ: "limits.workers, log.format". Empty: none.
[[nodiscard]] std::string changed_restart_settings(const ProcessSettings& before,
                                                   const ProcessSettings& after);

}  // namespace pgveil::proxy
