#include "proxy/diagnostics/stranger_limit.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using Answer = StrangerLimit::Answer;

class StrangerLimitTest : public testing::Test {
 protected:
  StrangerLimitTest() { limit_.set_rate({.count = 2, .interval = 1s}); }

  StrangerLimit limit_;
  const StrangerLimit::Time start_ = std::chrono::steady_clock::now();
};

TEST_F(StrangerLimitTest, CountsWhatIsOverTheRate) {
  EXPECT_EQ(limit_.ask(start_), Answer::write);
  EXPECT_EQ(limit_.ask(start_), Answer::write);
  EXPECT_EQ(limit_.ask(start_ + 999ms), Answer::omit_first);
  EXPECT_EQ(limit_.ask(start_ + 999ms), Answer::omit);
  EXPECT_EQ(limit_.take_omitted(), 2U);
  EXPECT_EQ(limit_.take_omitted(), 0U);
}

TEST_F(StrangerLimitTest, BeginsAgainAfterTheInterval) {
  for (int i = 0; i < 5; ++i) static_cast<void>(limit_.ask(start_));
  EXPECT_EQ(limit_.ask(start_ + 1s), Answer::write);
  EXPECT_EQ(limit_.ask(start_ + 1s), Answer::write);
  EXPECT_EQ(limit_.ask(start_ + 1s), Answer::omit);
}

TEST_F(StrangerLimitTest, SaysThatARecordIsTheFirstThatIsCounted) {
  for (int i = 0; i < 3; ++i) static_cast<void>(limit_.ask(start_));
  EXPECT_EQ(limit_.take_omitted(), 1U);
  EXPECT_EQ(limit_.ask(start_), Answer::omit_first);
}

TEST_F(StrangerLimitTest, CountsAgainWhatIsGivenBack) {
  for (int i = 0; i < 4; ++i) static_cast<void>(limit_.ask(start_));
  limit_.give_back(limit_.take_omitted());
  EXPECT_EQ(limit_.ask(start_), Answer::omit);  // not the first one
  EXPECT_EQ(limit_.take_omitted(), 3U);
}

TEST_F(StrangerLimitTest, BeginsAgainWithAnotherRateOnly) {
  for (int i = 0; i < 2; ++i) static_cast<void>(limit_.ask(start_));
  limit_.set_rate({.count = 2, .interval = 1s});
  EXPECT_EQ(limit_.ask(start_), Answer::omit_first);
  limit_.set_rate({.count = 1, .interval = 1s});
  EXPECT_EQ(limit_.ask(start_), Answer::write);
  EXPECT_EQ(limit_.ask(start_), Answer::omit);
}

TEST_F(StrangerLimitTest, OmitsNothingWithoutARate) {
  limit_.set_rate({});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(limit_.ask(start_), Answer::write);
  EXPECT_EQ(limit_.take_omitted(), 0U);
}

}  // namespace
}  // namespace pgveil::proxy
