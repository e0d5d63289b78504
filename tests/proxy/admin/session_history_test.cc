#include "proxy/admin/session_history.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

SessionSample sample(std::uint64_t logging_in) {
  SessionSample sample;
  sample.logging_in = logging_in;
  return sample;
}

std::vector<std::uint64_t> samples_of(const SessionHistory& history) {
  std::vector<std::uint64_t> found;
  for (const SessionSample& each : history.samples()) found.push_back(each.logging_in);
  return found;
}

using Numbers = std::vector<std::uint64_t>;

TEST(SessionHistory, IsEmptyAtFirst) {
  EXPECT_EQ(samples_of(SessionHistory(3)), Numbers());
}

TEST(SessionHistory, HasItsSamplesInTheirOrder) {
  SessionHistory history(3);
  history.add(sample(1));
  history.add(sample(2));
  EXPECT_EQ(samples_of(history), (Numbers{1, 2}));
}

TEST(SessionHistory, DropsTheOldestSampleIfItIsFull) {
  SessionHistory history(3);
  for (std::uint64_t i = 1; i <= 3; ++i) history.add(sample(i));
  EXPECT_EQ(samples_of(history), (Numbers{1, 2, 3}));
  history.add(sample(4));
  EXPECT_EQ(samples_of(history), (Numbers{2, 3, 4}));
  for (std::uint64_t i = 5; i <= 10; ++i) history.add(sample(i));
  EXPECT_EQ(samples_of(history), (Numbers{8, 9, 10}));
}

TEST(SessionHistory, MayHaveOneSample) {
  SessionHistory history(1);
  history.add(sample(1));
  history.add(sample(2));
  EXPECT_EQ(samples_of(history), Numbers{2});
}

}  // namespace
}  // namespace pgveil::proxy
