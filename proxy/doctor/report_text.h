// A report for a terminal.
#pragma once

#include <string>

#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// Returns lines: each server and listener, its steps, and cause and remedy below a step that has a finding. What a server has
// sent is escaped, so that the terminal does not act on it. `has_colours`: the marks are coloured.
[[nodiscard]] std::string report_text(const Report& report, bool has_colours);

}  // namespace pgveil::proxy
