// The chain that a server has sent, as a file.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// Returns PEM, with comments that say that nobody has verified it, and the fingerprint of each certificate. `now` is in seconds
// since 1970.
[[nodiscard]] std::string chain_file(const ServerReport& report, std::int64_t now);

}  // namespace pgveil::proxy
