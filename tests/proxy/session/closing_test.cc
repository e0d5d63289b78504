#include "proxy/session/closing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using Finish = Stream::Finish;
using Status = Stream::Status;

class AClosing : public test::AStage {
 protected:
  Closing& close(Finish for_client = Finish::complete, Finish for_server = Finish::complete) {
    begin("", "host = \"/nonexistent\"");
    auto server = std::make_unique<test::FakeStream>();
    server_ = server.get();
    closing_.emplace(*context_);
    closing_->begin(std::move(server), for_client, for_server);
    return *closing_;
  }

  test::FakeStream* server_ = nullptr;
  std::optional<Closing> closing_;
};

TEST_F(AClosing, WaitsUntilBothPeersHaveClosed) {
  Closing& closing = close();
  EXPECT_FALSE(closing.advance());
  client_->end = Status::ended;
  EXPECT_FALSE(closing.advance());
  server_->end = Status::ended;
  EXPECT_TRUE(closing.advance());
}

TEST_F(AClosing, WaitsUntilEverythingIsWritten) {
  Closing& closing = close();
  client_->waiting = "the last message";
  client_->end = server_->end = Status::ended;
  EXPECT_FALSE(closing.advance());
  client_->drain(std::string::npos);
  EXPECT_TRUE(closing.advance());
}

TEST_F(AClosing, ReadsWhatStillComesAndDropsIt) {
  Closing& closing = close();
  client_->incoming = {"too", "late"};
  EXPECT_FALSE(closing.advance());
  EXPECT_TRUE(client_->incoming.empty());
  EXPECT_TRUE(server_->written.empty());
}

TEST_F(AClosing, TellsEachPeerWhetherItHasEverything) {
  close(Finish::cut_off, Finish::complete);
  EXPECT_TRUE(client_->finished && client_->cut_off);
  EXPECT_TRUE(server_->finished && !server_->cut_off);
}

// The time is counted from the last change.
TEST_F(AClosing, GivesAPeerTwoSecondsToCloseAndFiveMinutesToRead) {
  Closing& closing = close();
  const auto expect_left = [&](std::chrono::milliseconds most) {
    EXPECT_FALSE(closing.advance());
    const auto left = context_->deadline.left();
    ASSERT_TRUE(left.has_value());
    EXPECT_LT(*left, most + 1s);
    EXPECT_GT(*left, most - 1s);
  };
  expect_left(2s);
  client_->waiting = "the last message";
  expect_left(300s);
  context_->deadline.set(10s);
  expect_left(10s);  // nothing more was written
  client_->drain(3);
  expect_left(300s);
  client_->drain(std::string::npos);
  expect_left(2s);
}

TEST_F(AClosing, EndsAfterThatTime) {
  Closing& closing = close();
  ASSERT_FALSE(closing.advance());
  context_->deadline.set(1ms);
  ASSERT_TRUE(turn_until([&] { return context_->deadline.passed(); }));
  EXPECT_TRUE(closing.advance());
}

}  // namespace
}  // namespace pgveil::proxy
