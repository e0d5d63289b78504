// The parts of the page /status about listeners, and quantiles of durations as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "proxy/admin/listener_totals.h"
#include "proxy/admin/process_state.h"
#include "proxy/diagnostics/metrics.h"

namespace pgveil::proxy {

// Returns the number of durations, and estimates in seconds: half of them, 95 % and 99 % are shorter. null: there is none.
[[nodiscard]] nlohmann::ordered_json quantiles_of(const DurationHistogram::Sum& durations);

[[nodiscard]] nlohmann::ordered_json status_of_listeners(const ProcessState::Values& values,
                                                         const std::vector<SessionSurvey>& surveys);

}  // namespace pgveil::proxy
