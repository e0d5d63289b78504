// A report as JSON. The schema is described in docs/doctor.md.
#pragma once

#include <cstdint>
#include <string>

#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// `now` is in seconds since 1970.
[[nodiscard]] std::string report_json(const Report& report, std::int64_t now);

}  // namespace pgveil::proxy
