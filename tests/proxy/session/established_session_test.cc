#include "proxy/session/established_session.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using EstablishedState = EstablishedSession::State;

const std::string kSelect("Q\0\0\0\x0dselect 1\0", 14);
const std::string kTerminateMessage("X\0\0\0\x04", 5);
const std::string kIdleAgain("Z\0\0\0\x05I", 6);
const std::string kFatalError("E\0\0\0\x18SFATAL\0C57P01\0Mbye\0\0", 25);

class AnEstablishedSession : public test::AStage {
 protected:
  EstablishedSession& establish(const std::string& limits = "") {
    begin("hba = \"host all all all relay\"", "host = \"/nonexistent\"", limits);
    auto server = std::make_unique<test::FakeStream>();
    server_ = server.get();
    auto relay = std::make_unique<Relay>(*context_->client, *server, 16'384);
    session_.emplace(*context_, LoggedInSession{.server = std::move(server), .relay = std::move(relay)});
    return *session_;
  }

  test::FakeStream* server_ = nullptr;
  std::optional<EstablishedSession> session_;
};

TEST_F(AnEstablishedSession, RelaysBothWays) {
  EstablishedSession& session = establish();
  client_->incoming = {kSelect};
  server_->incoming = {kIdleAgain};
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
  EXPECT_EQ(server_->written, kSelect);
  EXPECT_EQ(client_->written, kIdleAgain);
}

TEST_F(AnEstablishedSession, EndsAsItsClientDoes) {
  EstablishedSession& session = establish();
  client_->incoming = {kTerminateMessage};
  server_->end = Stream::Status::ended;
  const EstablishedState state = session.advance();
  ASSERT_EQ(state, EstablishedState::client_closed);
  EXPECT_EQ(session.ending(state).reason, Reason::client_closed);
}

TEST_F(AnEstablishedSession, EndsAsItsServerDoes) {
  EstablishedSession& session = establish();
  server_->incoming = {kFatalError};
  server_->end = Stream::Status::ended;
  const EstablishedState state = session.advance();
  ASSERT_EQ(state, EstablishedState::server_closed);
  EXPECT_EQ(session.error_format(), ErrorFormat::none);  // the server's error is the last message
}

// As if PostgreSQL terminates a backend during a COPY of the client, on a Unix socket.
TEST_F(AnEstablishedSession, EndsInTheRegularWayIfAResetFollowsTheErrorOfItsServer) {
  EstablishedSession& session = establish();
  server_->incoming = {kFatalError};
  server_->end = Stream::Status::failed;
  const EstablishedState state = session.advance();
  EXPECT_EQ(client_->written, kFatalError);
  EXPECT_EQ(session.ending(state).reason, Reason::server_closed);
  EXPECT_EQ(session.error_format(), ErrorFormat::none);
}

TEST_F(AnEstablishedSession, EndsIfItsServerIsLost) {
  EstablishedSession& session = establish();
  server_->end = Stream::Status::failed;
  const EstablishedState state = session.advance();
  ASSERT_EQ(state, EstablishedState::server_lost);
  EXPECT_EQ(session.ending(state).reason, Reason::upstream_lost);
}

TEST_F(AnEstablishedSession, TellsItsClientNothingInsideAMessage) {
  EstablishedSession& session = establish();
  EXPECT_EQ(session.error_format(), ErrorFormat::protocol_3);
  server_->incoming = {kIdleAgain.substr(0, 3)};
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
  EXPECT_EQ(session.error_format(), ErrorFormat::none);
  server_->incoming = {kIdleAgain.substr(3)};
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
  EXPECT_EQ(session.error_format(), ErrorFormat::protocol_3);
}

TEST_F(AnEstablishedSession, EndsAtOnceIfItIsDrainedWhileItIsIdle) {
  EstablishedSession& session = establish();
  client_->incoming = {kSelect};
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  server_->incoming = {kIdleAgain};
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  session.end_when_idle({.reason = Reason::shutting_down});
  const EstablishedState state = session.advance();
  ASSERT_EQ(state, EstablishedState::ended_when_idle);
  EXPECT_EQ(session.ending(state).reason, Reason::shutting_down);
  EXPECT_EQ(session.error_format(), ErrorFormat::protocol_3);
}

TEST_F(AnEstablishedSession, GetsItsLastAnswerIfItIsDrained) {
  EstablishedSession& session = establish();
  client_->incoming = {kSelect};
  session.end_when_idle({.reason = Reason::shutting_down});
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
  server_->incoming = {kIdleAgain.substr(0, 5)};
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
  server_->incoming = {kIdleAgain.substr(5)};
  EXPECT_EQ(session.advance(), EstablishedState::ended_when_idle);
  EXPECT_EQ(client_->written, kIdleAgain);
}

TEST_F(AnEstablishedSession, IsNotIdleInsideAMessageOfItsClient) {
  EstablishedSession& session = establish();
  client_->incoming = {kSelect.substr(0, 3)};
  session.end_when_idle({.reason = Reason::shutting_down});
  EXPECT_EQ(session.advance(), EstablishedState::relaying);
}

TEST_F(AnEstablishedSession, EndsForTheFirstOfTwoReasons) {
  EstablishedSession& session = establish();
  session.end_when_idle({.reason = Reason::session_lifetime});
  session.end_when_idle({.reason = Reason::shutting_down});
  const EstablishedState state = session.advance();
  ASSERT_EQ(state, EstablishedState::ended_when_idle);
  EXPECT_EQ(session.ending(state).reason, Reason::session_lifetime);
}

TEST_F(AnEstablishedSession, EndsAfterItsIdleTimeout) {
  EstablishedSession& session = establish("idle_timeout = \"1ms\"");
  EstablishedState state = EstablishedState::relaying;
  ASSERT_TRUE(turn_until([&] { return (state = session.advance()) != EstablishedState::relaying; }));
  ASSERT_EQ(state, EstablishedState::idle);
  EXPECT_EQ(session.ending(state).reason, Reason::idle_timeout);
}

// The timer expires while the time of the last byte does not yet allow the end.
TEST_F(AnEstablishedSession, WaitsForTheRestOfItsIdleTimeout) {
  EstablishedSession& session = establish("idle_timeout = \"60s\"");
  context_->deadline.set(20ms);
  ASSERT_TRUE(turn_until([&] { return context_->deadline.passed(); }));
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  ASSERT_TRUE(context_->deadline.left().has_value());
  EXPECT_LT(*context_->deadline.left(), 60s - 10ms);
  EXPECT_GT(*context_->deadline.left(), 30s);
}

TEST_F(AnEstablishedSession, WaitsWithoutALimitForTheLastAnswer) {
  EstablishedSession& session = establish();
  client_->end = Stream::Status::ended;
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  EXPECT_FALSE(context_->deadline.left().has_value());
}

TEST_F(AnEstablishedSession, NoticesThatItsClientIsGoneAfterItsEnd) {
  EstablishedSession& session = establish();
  client_->end = Stream::Status::ended;
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  client_->breaks = true;
  EstablishedState state = EstablishedState::relaying;
  ASSERT_TRUE(turn_until([&] { return (state = session.advance()) != EstablishedState::relaying; }));
  EXPECT_EQ(state, EstablishedState::client_closed);
}

TEST_F(AnEstablishedSession, WaitsForTheLastAnswerUntilItsIdleTimeout) {
  EstablishedSession& session = establish("idle_timeout = \"50ms\"");
  client_->end = Stream::Status::ended;
  ASSERT_EQ(session.advance(), EstablishedState::relaying);
  ASSERT_TRUE(turn_until([&] { return context_->deadline.passed(); }));
  EXPECT_EQ(session.advance(), EstablishedState::idle);
}

TEST_F(AnEstablishedSession, GivesUpItsServer) {
  EstablishedSession& session = establish();
  const auto server = session.release_server();
  EXPECT_EQ(server.get(), server_);
}

}  // namespace
}  // namespace pgveil::proxy
