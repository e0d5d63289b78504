#include "proxy/admin/duration_quantile.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

DurationHistogram::Sum sum_of(const DurationHistogram& histogram) {
  DurationHistogram::Sum sum;
  histogram.add_to(sum);
  return sum;
}

// The expected values are those of Prometheus' histogram_quantile() for the same buckets.
TEST(DurationQuantile, IsInterpolatedInItsBucket) {
  DurationHistogram histogram;
  for (int i = 0; i < 10; ++i) histogram.add(milliseconds(7));  // the bucket from 5 to 10 ms
  EXPECT_EQ(count_of(sum_of(histogram)), 10U);
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 0.5), 0.0075, 1e-9);
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 0.95), 0.00975, 1e-9);
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 1), 0.01, 1e-9);
}

TEST(DurationQuantile, BeginsAtZeroInTheFirstBucket) {
  DurationHistogram histogram;
  histogram.add(microseconds(400));  // the bucket up to 0.5 ms
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 0.5), 0.00025, 1e-9);
}

TEST(DurationQuantile, SkipsEmptyBuckets) {
  DurationHistogram histogram;
  for (int i = 0; i < 90; ++i) histogram.add(microseconds(400));
  for (int i = 0; i < 10; ++i) histogram.add(milliseconds(700));  // the bucket from 0.5 to 1 s
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 0.9), 0.0005, 1e-9);
  EXPECT_NEAR(*quantile_of(sum_of(histogram), 0.95), 0.75, 1e-9);
}

TEST(DurationQuantile, IsTheLargestBoundIfItsBucketHasNone) {
  DurationHistogram histogram;
  histogram.add(seconds(100));
  EXPECT_EQ(quantile_of(sum_of(histogram), 0.5), 30);
}

TEST(DurationQuantile, DoesNotExistWithoutDurations) {
  EXPECT_EQ(quantile_of(sum_of(DurationHistogram()), 0.5), std::nullopt);
}

}  // namespace
}  // namespace pgveil::proxy
