// Limits of a listener that have no effect, or with which nobody could log in.
#pragma once

#include "proxy/config/config.h"
#include "proxy/config/config_report.h"

namespace pgveil::proxy {

void check_limit_effects(const ParsedConfig& parsed, ConfigReport& report);

}  // namespace pgveil::proxy
