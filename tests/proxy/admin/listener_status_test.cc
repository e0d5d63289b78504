#include "proxy/admin/listener_status.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>

namespace pgveil::proxy {
namespace {

class AListenerStatus : public testing::Test {
 protected:
  // Of one listener, as /status has it.
  nlohmann::ordered_json status() {
    ProcessState::Values values;
    values.listeners.push_back(
        {.address = "127.0.0.1:5432", .upstream = "primary", .usage = usage_, .limits = limits_});
    return status_of_listeners(values, std::vector<SessionSurvey>(usage_->metrics.size())).at(0);
  }
  [[nodiscard]] SessionMetrics& metrics(std::size_t worker) const { return *usage_->metrics.at(worker); }

  std::shared_ptr<ListenerUsage> usage_ = std::make_shared<ListenerUsage>([] {}, 2);
  ListenerLimits limits_;
};

TEST_F(AListenerStatus, HasNoLatencyOfAStepThatHasNotBeen) {
  const auto latencies = status().at("latencies");
  EXPECT_EQ(latencies.size(), 5U);
  for (const auto& [step, latency] : latencies.items()) EXPECT_TRUE(latency.is_null()) << step;
}

TEST_F(AListenerStatus, HasTheLatenciesOfAllWorkersInSeconds) {
  for (const std::size_t worker : {0U, 1U})
    metrics(worker).duration_of(SessionPhase::log_in).add(std::chrono::milliseconds(7));
  const auto login = status().at("latencies").at("login");
  EXPECT_EQ(login.dump(), R"({"count":2,"p50":0.0075,"p95":0.00975,"p99":0.00995})");
}

TEST_F(AListenerStatus, HasLimitsOnlyIfTheyAreSet) {
  EXPECT_TRUE(status().at("limits").at("sessions").at("max").is_null());
  limits_.max_sessions = 5;
  EXPECT_TRUE(usage_->sessions.acquire(5));
  usage_->unauthenticated_clients.enter();
  const auto limits = status().at("limits");
  EXPECT_EQ(limits.at("sessions").dump(), R"({"used":1,"max":5})");
  EXPECT_EQ(limits.at("unauthenticated_clients").dump(), R"({"used":1,"max":null})");
}

TEST_F(AListenerStatus, GroupsPhases) {
  metrics(0).of(SessionPhase::negotiate).add(1);
  metrics(1).of(SessionPhase::log_in).add(2);
  metrics(0).of(SessionPhase::relay).add(4);
  metrics(1).of(SessionPhase::forward_cancel).add(8);
  metrics(1).of(SessionPhase::closing).add(16);
  const PhaseGroups groups = phase_groups_of({.address = "", .upstream = "", .usage = usage_, .limits = {}});
  EXPECT_EQ(groups.logging_in, 3U);
  EXPECT_EQ(groups.established, 4U);
  EXPECT_EQ(groups.leaving, 24U);
}

}  // namespace
}  // namespace pgveil::proxy
