#include "proxy/session/session_survey.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>

#include "proxy/session/answer_box.h"

namespace pgveil::proxy {
namespace {

TEST(SessionSurvey, AddsUpTheSessionsOfEachListener) {
  SessionMetrics one;
  SessionMetrics other;
  const SessionMetrics third;
  one.bytes_to_client.add(1'000);  // of sessions that have ended
  SessionSurvey survey;
  survey.add(one, {.state = SessionState::idle, .bytes_to_client = 10, .bytes_to_server = 1});
  survey.add(other, {.state = SessionState::active, .bytes_to_client = 100, .bytes_to_server = 2});
  survey.add(one, {.state = SessionState::in_transaction, .bytes_to_client = 20, .bytes_to_server = 3});
  survey.add(one, {.state = SessionState::idle, .bytes_to_client = 30, .bytes_to_server = 4});
  const auto* found = survey.find(one);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->sessions, (std::array<std::uint64_t, kSessionStates>{2, 1, 0}));
  EXPECT_EQ(found->bytes_to_client, 1'060U);
  EXPECT_EQ(found->bytes_to_server, 8U);
  ASSERT_NE(survey.find(other), nullptr);
  EXPECT_EQ(survey.find(other)->bytes_to_client, 100U);
  EXPECT_EQ(survey.find(third), nullptr);
}

TEST(AnswerBox, ReturnsTheLastAnswerIfThereIsNoNewOne) {
  AnswerBox<SessionSurvey> box;
  SessionMetrics metrics;
  SessionSurvey survey;
  survey.add(metrics, {.state = SessionState::idle, .bytes_to_client = 1, .bytes_to_server = 1});
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

}  // namespace
}  // namespace pgveil::proxy
