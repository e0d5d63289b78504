// Settings that are right by themselves, and have no effect or not the one that they seem to have: because of
// the rules, of another section, or of this machine. What nobody can have intended is an error, the rest a
// warning. What is wrong within one section, ConfigBuilder finds.
#pragma once

#include "proxy/config/config.h"
#include "proxy/config/config_report.h"

namespace pgveil::proxy {

struct Snapshot;

// `snapshot`: of `parsed`, with all its listeners; not all that they name needs to have been loaded.
void check_effects(const Snapshot& snapshot, const ParsedConfig& parsed, ConfigReport& report);

}  // namespace pgveil::proxy
