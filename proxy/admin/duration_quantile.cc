#include "proxy/admin/duration_quantile.h"

#include <cstddef>
#include <numeric>

namespace pgveil::proxy {

std::uint64_t count_of(const DurationHistogram::Sum& sum) {
  return std::accumulate(sum.counts.begin(), sum.counts.end(), std::uint64_t{0});
}

std::optional<double> quantile_of(const DurationHistogram::Sum& sum, double quantile) {
  const std::uint64_t count = count_of(sum);
  if (count == 0) return std::nullopt;
  const double rank = quantile * static_cast<double>(count);
  double below = 0;  // durations in the buckets before
  for (std::size_t i = 0; i < sum.bounds.size(); ++i) {
    const auto here = static_cast<double>(sum.counts.at(i));
    if (here > 0 && below + here >= rank) {
      const double lower = i == 0 ? 0 : DurationHistogram::seconds(sum.bounds[i - 1]);
      return lower + (DurationHistogram::seconds(sum.bounds[i]) - lower) * (rank - below) / here;
    }
    below += here;
  }
  return DurationHistogram::seconds(sum.bounds.back());
}

}  // namespace pgveil::proxy
