#include "proxy/session/session_survey.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "proxy/session/answer_box.h"

namespace pgveil::proxy {
namespace {

TEST(SessionSurvey, AddsUpTheSessionsOfEachListener) {
  SessionMetrics one;
  SessionMetrics other;
  const SessionMetrics third;
  one.traffic.add({.to_client = {.bytes = 1'000}});  // of sessions that have ended
  SessionSurvey survey;
  survey.add(
      one, {.state = SessionState::idle, .traffic = {.to_client = {.bytes = 10}, .to_server = {.bytes = 1}}});
  survey.add(other, {.state = SessionState::active,
                     .traffic = {.to_client = {.bytes = 100}, .to_server = {.bytes = 2}}});
  survey.add(one, {.state = SessionState::in_transaction,
                   .traffic = {.to_client = {.bytes = 20}, .to_server = {.bytes = 3}}});
  survey.add(
      one, {.state = SessionState::idle, .traffic = {.to_client = {.bytes = 30}, .to_server = {.bytes = 4}}});
  const auto* found = survey.find(one);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->sessions, (std::array<std::uint64_t, kSessionStates>{2, 1, 0}));
  EXPECT_EQ(found->traffic.to_client.bytes, 1'060U);
  EXPECT_EQ(found->traffic.to_server.bytes, 8U);
  ASSERT_NE(survey.find(other), nullptr);
  EXPECT_EQ(survey.find(other)->traffic.to_client.bytes, 100U);
  EXPECT_EQ(survey.find(third), nullptr);
}

TEST(AnswerBox, ReturnsTheLastAnswerIfThereIsNoNewOne) {
  AnswerBox<SessionSurvey> box;
  SessionMetrics metrics;
  SessionSurvey survey;
  survey.add(metrics, {.state = SessionState::idle,
                       .traffic = {.to_client = {.bytes = 1}, .to_server = {.bytes = 1}}});
  EXPECT_FALSE(box.is_asked());
  box.ask();
  EXPECT_TRUE(box.is_asked());
  const auto now = std::chrono::steady_clock::now();
  EXPECT_EQ(box.wait_until(now).find(metrics), nullptr);
  box.answer(survey);
  EXPECT_FALSE(box.is_asked());
  EXPECT_NE(box.wait_until(now).find(metrics), nullptr);
  box.ask();
  EXPECT_NE(box.wait_until(now).find(metrics), nullptr);
}

AdminConfig labelled_by(AdminLabels labels, std::size_t limit) {
  AdminConfig config;
  config.labels = labels;
  config.label_limit = limit;
  return config;
}

TEST(SessionSurvey, HasTheRowsOfLabelledSessions) {
  const SessionMetrics metrics;
  LabelledSessions table(labelled_by({.user = true, .address = true}, 10));
  auto& ann = table.enter(metrics, {.user = "ann", .database = "ledger", .address = "192.0.2.1"});
  auto& again = table.enter(metrics, {.user = "ann", .database = "orders", .address = "192.0.2.1"});
  EXPECT_EQ(&ann, &again);
  for (int round = 0; round < 2; ++round) {
    table.begin_survey();
    LabelledSessions::add_running(ann, {.to_client = {.bytes = 5}});
    SessionSurvey survey;
    survey.take(table);
    ASSERT_EQ(survey.labelled().size(), 1U);
    const auto& row = survey.labelled().front();
    EXPECT_EQ(row.metrics, metrics.number);
    EXPECT_EQ(row.values, (std::array<std::string, 3>{"ann", "", "192.0.2.1"}));
    EXPECT_EQ(row.sessions, 2);
    EXPECT_EQ(row.traffic.to_client.bytes, 5U);
  }
  LabelledSessions::leave(ann, {.to_client = {.bytes = 7}});
  table.begin_survey();
  SessionSurvey survey;
  survey.take(table);
  EXPECT_EQ(survey.labelled().front().sessions, 1);
  EXPECT_EQ(survey.labelled().front().logins, 2U);
  EXPECT_EQ(survey.labelled().front().traffic.to_client.bytes, 7U);
}

TEST(LabelledSessions, PutFurtherValuesTogetherOnceThereAreTooMany) {
  const SessionMetrics metrics;
  LabelledSessions table(labelled_by({.user = true}, 2));
  for (const char* user : {"a", "b", "c", "d", "a"})
    static_cast<void>(table.enter(metrics, {.user = user, .database = "", .address = ""}));
  std::vector<std::pair<std::string, std::uint64_t>> users;
  for (const auto& [key, row] : table.rows()) users.emplace_back(key.second[0], row.logins);
  EXPECT_EQ(users, (std::vector<std::pair<std::string, std::uint64_t>>{{"(other)", 2}, {"a", 2}, {"b", 1}}));
}

TEST(Traffic, IsAddedUpByItsCounters) {
  const Traffic traffic{.to_client = {.bytes = 1, .messages = 2, .paused = std::chrono::nanoseconds(3)},
                        .to_server = {.bytes = 4, .messages = 5, .paused = std::chrono::nanoseconds(6)},
                        .client_leg = {.received = 7, .sent = 8},
                        .server_leg = {.received = 9, .sent = 10}};
  TrafficCounters counters;
  counters.add(traffic);
  counters.add(traffic);
  Traffic sum = traffic;
  sum += traffic;
  for (const Traffic& each : {counters.value(), sum}) {
    EXPECT_EQ(each.to_client.bytes, 2U);
    EXPECT_EQ(each.to_client.messages, 4U);
    EXPECT_EQ(each.to_client.paused.count(), 6);
    EXPECT_EQ(each.to_server.bytes, 8U);
    EXPECT_EQ(each.to_server.messages, 10U);
    EXPECT_EQ(each.to_server.paused.count(), 12);
    EXPECT_EQ(each.client_leg.received, 14U);
    EXPECT_EQ(each.client_leg.sent, 16U);
    EXPECT_EQ(each.server_leg.received, 18U);
    EXPECT_EQ(each.server_leg.sent, 20U);
  }
}

}  // namespace
}  // namespace pgveil::proxy
