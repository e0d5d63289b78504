// The files and directories that a configuration names.
#pragma once

#include <set>
#include <string>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// Returns the paths of everything that is read for this configuration: its own file, and the files and directories of all
// settings whose type is a path. The files that rules include are not in it.
[[nodiscard]] std::set<std::string> config_files(const ParsedConfig& parsed);

}  // namespace pgveil::proxy
