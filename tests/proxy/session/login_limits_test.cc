#include "proxy/session/login_limits.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

using GateState = LoginGate::State;

class LoginLimits : public test::AStage {
 protected:
  // Creates the context of a client whose listener has these settings. The counts of earlier clients stay.
  SessionContext& client(const std::string& listener, const std::string& limits = "") {
    if (context_) earlier_.push_back(std::move(context_));
    SessionContext& context = begin(listener, "host = \"/nonexistent\"", limits);
    context.deadline.set(snapshot_->limits.startup_timeout);
    return context;
  }
  // Returns the reason for which a session of `user` is refused.
  std::optional<Reason> enter(const std::string& user, const std::string& listener,
                              const std::string& limits = "") {
    return enter_session(client(listener, limits), user);
  }
  // After a failed login, begins one that has `left` of its 6 seconds, and has to wait for 3.
  LoginGate::State login_with_half_as_delay(std::chrono::milliseconds left) {
    const std::string listener = "failed_login_delay = \"3s\"";
    const std::string limits = "startup_timeout = \"6s\"";
    note_failed_login(client(listener, limits));
    SessionContext& context = client(listener, limits);
    context.deadline.set(left);
    return LoginGate(context).advance();
  }

  std::vector<std::unique_ptr<SessionContext>> earlier_;
};

TEST_F(LoginLimits, OfTheListenerAreToldApartFromThoseOfTheProcess) {
  EXPECT_EQ(enter("ann", "max_sessions = 1"), std::nullopt);
  EXPECT_EQ(enter("ann", "max_sessions = 1"), Reason::too_many_sessions);
  EXPECT_EQ(session_limit_ending(*context_, Reason::too_many_sessions, "ann").detail,
            "All 1 sessions of this listener are in use.");
  EXPECT_EQ(enter("ann", "", "max_sessions = 1"), Reason::too_many_sessions);
  EXPECT_EQ(session_limit_ending(*context_, Reason::too_many_sessions, "ann").detail,
            "All 1 sessions are in use.");
}

TEST_F(LoginLimits, OfReservedSessionsAreForTheirUsers) {
  const std::string listener = "max_sessions = 2\nreserved_sessions = 1\nreserved_sessions_for = \"ann\"";
  EXPECT_EQ(enter("bob", listener), std::nullopt);
  EXPECT_EQ(enter("bob", listener), Reason::sessions_reserved);
  EXPECT_EQ(enter("ann", listener), std::nullopt);
  EXPECT_EQ(enter("ann", listener), Reason::too_many_sessions);
}

TEST_F(LoginLimits, OfAUserAndOfAnAddressHaveTheirReasons) {
  EXPECT_EQ(enter("ann", "max_sessions_per_user = 1"), std::nullopt);
  EXPECT_EQ(enter("ann", "max_sessions_per_user = 1"), Reason::too_many_sessions_of_user);
  EXPECT_EQ(enter("bob", "max_sessions_per_address = 1"), std::nullopt);
  EXPECT_EQ(enter("eve", "max_sessions_per_address = 1"), Reason::too_many_sessions_of_address);
  EXPECT_EQ(session_limit_ending(*context_, Reason::too_many_sessions_of_address, "eve").detail,
            "127.0.0.1 has 1 sessions already.");
}

TEST_F(LoginLimits, LetALoginBeginAtOnceIfNoneIsSet) {
  LoginGate gate(client(""));
  EXPECT_EQ(gate.advance(), GateState::open);
}

TEST_F(LoginLimits, RefuseALoginAboveTheRate) {
  LoginGate first(client("login_rate = \"1/h\""));
  EXPECT_EQ(first.advance(), GateState::open);
  EXPECT_EQ(first.advance(), GateState::open);  // it is counted once
  LoginGate second(client("login_rate = \"1/h\""));
  ASSERT_EQ(second.advance(), GateState::refused);
  EXPECT_EQ(second.refusal().reason, Reason::login_rate_exceeded);
}

TEST_F(LoginLimits, LetFourLoginsWaitAfterAFailedOne) {
  const std::string listener = "failed_login_delay = \"10s\"";
  const std::string limits = "startup_timeout = \"600s\"";
  note_failed_login(client(listener, limits));
  for (int i = 0; i < 4; ++i) {
    LoginGate gate(client(listener, limits));
    EXPECT_EQ(gate.advance(), GateState::waiting);
    EXPECT_TRUE(gate.waits());
  }
  LoginGate fifth(client(listener, limits));
  ASSERT_EQ(fifth.advance(), GateState::refused);
  EXPECT_EQ(fifth.refusal().reason, Reason::too_many_failed_logins);
}

TEST_F(LoginLimits, LetNoLoginWaitForLongerThanHalfOfItsTime) {
  const std::string listener = "failed_login_delay = \"2s\"";
  const std::string limits = "startup_timeout = \"6s\"";
  note_failed_login(client(listener, limits));
  LoginGate first(client(listener, limits));
  EXPECT_EQ(first.advance(), GateState::waiting);
  LoginGate second(client(listener, limits));
  EXPECT_EQ(second.advance(), GateState::refused);
}

// The client has used a little of its time before, as each client does.
TEST_F(LoginLimits, LetALoginWaitForExactlyHalfOfItsTime) {
  EXPECT_EQ(login_with_half_as_delay(std::chrono::milliseconds(5'900)), GateState::waiting);
}

TEST_F(LoginLimits, LeaveAQuarterOfItsTimeToALogin) {
  EXPECT_EQ(login_with_half_as_delay(std::chrono::milliseconds(4'400)), GateState::refused);
}

TEST_F(LoginLimits, LetALoginBeginAfterItsDelayOrAfterASuccess) {
  const std::string listener = "failed_login_delay = \"50ms\"";
  note_failed_login(client(listener));
  LoginGate gate(client(listener));
  ASSERT_EQ(gate.advance(), GateState::waiting);
  EXPECT_TRUE(turn_until([&] { return gate.advance() == GateState::open; }));
  note_failed_login(client(listener));
  note_successful_login(client(listener));
  LoginGate next(client(listener));
  EXPECT_EQ(next.advance(), GateState::open);
}

TEST_F(LoginLimits, OfAddressesAreNotForUnixSockets) {
  client_address_.storage.ss_family = AF_UNIX;
  client_address_.size = sizeof client_address_.storage.ss_family;
  const std::string listener = "login_rate = \"1/h\"\nfailed_login_delay = \"2s\"";
  for (int i = 0; i < 3; ++i) {
    note_failed_login(client(listener));
    LoginGate gate(*context_);
    EXPECT_EQ(gate.advance(), GateState::open);
  }
}

}  // namespace
}  // namespace pgveil::proxy
