// A survey as steps of a report, before the verdict.
#pragma once

#include <cstdint>
#include <vector>

#include "proxy/doctor/finding.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// `now` is in seconds since 1970. No step has a finding yet.
[[nodiscard]] std::vector<Step> steps_of(const Evidence& evidence, std::int64_t now);

}  // namespace pgveil::proxy
