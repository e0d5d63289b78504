// `pgveil check`: loads and checks everything as `pgveil run` would, and prints what would be run.
#pragma once

#include <string>

#include "proxy/config/config.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Prints the summary to standard output, or all errors to standard error. Returns the exit code.
[[nodiscard]] int run_check(const ParsedConfig& parsed);

// Each listener and where its sessions go; holds no secret.
[[nodiscard]] std::string summary_of(const Snapshot& snapshot);

}  // namespace pgveil::proxy
