#include "proxy/session/closing.h"

#include <gtest/gtest.h>

#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

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

TEST_F(AClosing, GivesAPeerThatDoesNotCloseALimitedTime) {
  Closing& closing = close();
  EXPECT_TRUE(turn_until([&] { return closing.advance(); }));
}

}  // namespace
}  // namespace pgveil::proxy
