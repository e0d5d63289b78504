#include "proxy/snapshot/upstream_status.h"

#include <gtest/gtest.h>

#include <memory>

namespace pgveil::proxy {
namespace {

TEST(UpstreamStatus, KnowsNothingBeforeTheFirstAttempt) {
  const UpstreamStatus status;
  EXPECT_FALSE(status.values().last_attempt());
  EXPECT_FALSE(status.values().has_failed);
}

TEST(UpstreamStatus, IsThatOfTheLastAttempt) {
  UpstreamStatus status;
  const auto tls = std::make_shared<const tls::Established>();
  status.note_connected({}, tls);
  EXPECT_FALSE(status.values().has_failed);
  EXPECT_EQ(status.values().tls, tls);
  EXPECT_EQ(status.values().last_attempt(), status.values().connected);
  status.note_failed("refused");
  EXPECT_TRUE(status.values().has_failed);
  EXPECT_EQ(status.values().problem, "refused");
  EXPECT_EQ(status.values().last_attempt(), status.values().failed);
  EXPECT_EQ(status.values().tls, tls);  // still what was seen last
  status.note_connected({}, nullptr);
  EXPECT_FALSE(status.values().has_failed);
  EXPECT_EQ(status.values().tls, nullptr);
}

TEST(UpstreamStatus, IsTakenOver) {
  UpstreamStatus earlier;
  earlier.note_failed("refused");
  UpstreamStatus status;
  status.take_over(earlier);
  EXPECT_TRUE(status.values().has_failed);
  EXPECT_EQ(status.values().problem, "refused");
}

}  // namespace
}  // namespace pgveil::proxy
