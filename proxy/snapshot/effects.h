// Finds settings that are valid by themselves, but have no effect, or not the one that they seem to have: because of the
// rules, another section, or this machine. This is an error if nobody can have intended it, otherwise a warning.
// ConfigBuilder finds the errors within one section.
#pragma once

#include "proxy/config/config.h"
#include "proxy/config/config_report.h"

namespace pgveil::proxy {

struct Snapshot;

// `snapshot`: of `parsed`, with all its listeners; not all that they name needs to have been loaded.
void check_effects(const Snapshot& snapshot, const ParsedConfig& parsed, ConfigReport& report);

}  // namespace pgveil::proxy
