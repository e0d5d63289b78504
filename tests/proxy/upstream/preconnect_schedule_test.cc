#include "proxy/upstream/preconnect_schedule.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using Time = PreconnectSchedule::Time;

// Returns how long after `now` the next attempt may be made.
Time wait_after(const PreconnectSchedule& schedule, Time now) {
  return schedule.next_attempt().value_or(now) - now;
}

// Returns a schedule whose server has failed once, at time 0.
PreconnectSchedule failing(std::size_t wanted) {
  PreconnectSchedule schedule(wanted);
  static_cast<void>(schedule.failed(0ms, false));
  return schedule;
}

TEST(PreconnectSchedule, DialsAllThatAreMissing) {
  const PreconnectSchedule schedule(4);
  EXPECT_EQ(schedule.to_dial(0ms, 0), 4U);
  EXPECT_EQ(schedule.to_dial(0ms, 3), 1U);
  EXPECT_EQ(schedule.to_dial(0ms, 4), 0U);
  EXPECT_EQ(schedule.to_dial(0ms, 5), 0U);
}

TEST(PreconnectSchedule, HasNothingToWaitForWhileAllGoesWell) {
  EXPECT_EQ(PreconnectSchedule(4).next_attempt(), std::nullopt);
}

TEST(PreconnectSchedule, LeavesAServerThatFailedAlone) {
  const auto schedule = failing(4);
  EXPECT_EQ(schedule.to_dial(PreconnectSchedule::kFirstDelay - 1ms, 0), 0U);
  EXPECT_EQ(schedule.to_dial(PreconnectSchedule::kFirstDelay, 0), 1U);
}

TEST(PreconnectSchedule, HasOneAttemptAtATimeAfterAFailure) {
  auto schedule = failing(4);
  EXPECT_TRUE(schedule.dialled());
  EXPECT_EQ(schedule.to_dial(1h, 0), 0U);
  EXPECT_EQ(schedule.next_attempt(), std::nullopt);
}

TEST(PreconnectSchedule, WaitsLongerAfterEachFailureUpToALimit) {
  PreconnectSchedule schedule(4);
  Time now = 0ms;
  std::vector<Time> waits;
  for (int i = 0; i < 40; ++i) {
    static_cast<void>(schedule.failed(now, i > 0));
    waits.push_back(wait_after(schedule, now));
    now += waits.back();
    ASSERT_EQ(schedule.to_dial(now, 0), 1U);
    EXPECT_TRUE(schedule.dialled());
  }
  EXPECT_EQ((std::vector<Time>(waits.begin(), waits.begin() + 8)),
            (std::vector<Time>{250ms, 500ms, 1s, 2s, 4s, 8s, 16s, 30s}));
  EXPECT_EQ(waits.back(), PreconnectSchedule::kLongestDelay);
}

TEST(PreconnectSchedule, TakesAllThatEndsTogetherForOneFailure) {
  auto schedule = failing(4);
  EXPECT_FALSE(schedule.failed(10ms, false));
  EXPECT_EQ(schedule.next_attempt(), PreconnectSchedule::kFirstDelay);
}

TEST(PreconnectSchedule, CallsOnlyTheFirstFailureOfAnOutageNews) {
  PreconnectSchedule schedule(1);
  EXPECT_TRUE(schedule.failed(0ms, false));
  static_cast<void>(schedule.dialled());
  EXPECT_FALSE(schedule.failed(300ms, true));
  schedule.proven();
  EXPECT_TRUE(schedule.failed(400ms, false));
}

TEST(PreconnectSchedule, DialsAllAgainOnceTheProbeHasProvenTheServer) {
  auto schedule = failing(4);
  static_cast<void>(schedule.dialled());
  EXPECT_EQ(schedule.to_dial(1h, 1), 0U);
  schedule.proven();
  EXPECT_EQ(schedule.to_dial(1h, 1), 3U);
}

TEST(PreconnectSchedule, SendsAnotherProbeWhereASessionTookTheFirst) {
  auto schedule = failing(4);
  static_cast<void>(schedule.dialled());
  schedule.lost_sight_of_probe();
  EXPECT_TRUE(schedule.is_failing());
  EXPECT_EQ(schedule.to_dial(PreconnectSchedule::kFirstDelay, 0), 1U);
}

}  // namespace
}  // namespace pgveil::proxy
