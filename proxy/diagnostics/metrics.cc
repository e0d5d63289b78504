#include "proxy/diagnostics/metrics.h"

#include <algorithm>

namespace pgveil::proxy {

void DurationHistogram::add(Duration duration) {
  const Bound nanoseconds = std::chrono::nanoseconds(duration).count();
  // Most durations are short, so this takes fewer steps than a binary search.
  const auto bucket = std::ranges::find_if(bounds_, [=](Bound bound) { return nanoseconds <= bound; });
  counts_[static_cast<std::size_t>(bucket - bounds_.begin())].add();
  nanoseconds_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 0)));
}

void DurationHistogram::add_to(Sum& sum) const {
  sum.bounds = bounds_;
  for (std::size_t i = 0; i < counts_.size(); ++i) sum.counts.at(i) += counts_.at(i).value();
  sum.seconds += static_cast<double>(nanoseconds_.value()) / 1e9;
}

}  // namespace pgveil::proxy
