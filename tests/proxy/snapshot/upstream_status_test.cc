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
  earlier.count(&UpstreamStatus::Preconnects::made);
  UpstreamStatus status, of_other_servers;
  status.take_over(earlier, true);
  EXPECT_TRUE(status.values().has_failed);
  EXPECT_EQ(status.values().problem, "refused");
  EXPECT_EQ(status.preconnects().made, 1U);
  of_other_servers.take_over(earlier, false);
  EXPECT_FALSE(of_other_servers.values().has_failed);
  EXPECT_EQ(of_other_servers.preconnects().made, 1U);
}

TEST(UpstreamStatus, TellsWhenAnOutageBeginsAndEnds) {
  UpstreamStatus status;
  EXPECT_FALSE(status.set_outage(false));
  EXPECT_TRUE(status.set_outage(true));
  EXPECT_FALSE(status.set_outage(true));
  UpstreamStatus next;
  next.take_over(status, false);
  EXPECT_TRUE(next.set_outage(false));
}

}  // namespace
}  // namespace pgveil::proxy
