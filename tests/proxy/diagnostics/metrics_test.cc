#include "proxy/diagnostics/metrics.h"

#include <gtest/gtest.h>

#include "proxy/diagnostics/worker_pulse.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

TEST(DurationHistogram, CountsADurationInTheFirstBucketThatHoldsIt) {
  DurationHistogram histogram;
  histogram.add(std::chrono::microseconds(500));  // a bound belongs to its bucket
  histogram.add(std::chrono::microseconds(501));
  histogram.add(std::chrono::minutes(1));
  DurationHistogram::Sum sum;
  histogram.add_to(sum);
  histogram.add_to(sum);
  EXPECT_EQ(sum.counts[0], 2U);
  EXPECT_EQ(sum.counts[1], 2U);
  EXPECT_EQ(sum.counts[DurationHistogram::kOfSteps.size()], 2U);
  EXPECT_NEAR(sum.seconds, 2 * 60.001001, 1e-9);
}

TEST(WorkerPulse, IsSilentFromAQuestionToItsAnswer) {
  WorkerPulse pulse;
  const auto now = WorkerPulse::Clock::now();
  EXPECT_EQ(pulse.silence(now), std::nullopt);
  EXPECT_TRUE(pulse.ask(now));
  EXPECT_EQ(pulse.silence(now + milliseconds(7)), milliseconds(7));
  EXPECT_FALSE(pulse.ask(now + milliseconds(8))) << "was asked twice";
  EXPECT_EQ(pulse.silence(now + milliseconds(9)), milliseconds(9));
  pulse.answer();
  EXPECT_EQ(pulse.silence(now + milliseconds(10)), std::nullopt);
  EXPECT_TRUE(pulse.ask(now + milliseconds(11)));
}

TEST(WorkerPulse, CountsTheDelayOfEachAnswerOnce) {
  WorkerPulse pulse;
  pulse.answer();
  ASSERT_TRUE(pulse.ask(WorkerPulse::Clock::now() - std::chrono::seconds(3)));
  pulse.answer();
  pulse.answer();
  DurationHistogram::Sum sum;
  pulse.delays().add_to(sum);
  EXPECT_GE(sum.seconds, 3);
  std::uint64_t count = 0;
  for (const auto each : sum.counts) count += each;
  EXPECT_EQ(count, 1U);
}

}  // namespace
}  // namespace pgveil::proxy
