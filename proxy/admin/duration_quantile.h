// Quantiles of a histogram of durations, estimated as Prometheus' histogram_quantile() does.
#pragma once

#include <cstdint>
#include <optional>

#include "proxy/diagnostics/metrics.h"

namespace pgveil::proxy {

// Returns the number of durations.
[[nodiscard]] std::uint64_t count_of(const DurationHistogram::Sum& sum);

// Returns the duration in seconds below which `quantile` (0 to 1) of all durations are: interpolated between the bounds of
// its bucket. If the bucket has no upper bound, returns the largest bound. nullopt: there is no duration.
[[nodiscard]] std::optional<double> quantile_of(const DurationHistogram::Sum& sum, double quantile);

}  // namespace pgveil::proxy
