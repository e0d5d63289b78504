#include "proxy/session/shared_state.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

const protocol::CancelRequest kKey{7, {1, 2, 3, 4}};
const ClientNetwork kAddress =
    *ClientNetwork::of(*kernel_address(SocketAddress{.host = "192.0.2.1", .port = 5432, .unix_path = ""}));
constexpr SessionRegistration::MaxSessions kOneSession{.of_process = 1, .of_listener = 0};

class ARegistration : public ::testing::Test {
 protected:
  ARegistration() {
    shared_.unauthenticated_clients.enter();
    listener_->unauthenticated_clients.enter();
  }

  SharedState shared_{1, 10, [] {}};
  const std::shared_ptr<ListenerUsage> listener_ = std::make_shared<ListenerUsage>([] {});
};

TEST_F(ARegistration, GivesEverythingBackWhenItGoes) {
  {
    SessionRegistration registration(shared_, listener_);
    EXPECT_TRUE(registration.enter_session({.of_process = 10, .of_listener = 0}));
    registration.add_cancel_route(kKey, {});
    EXPECT_TRUE(registration.enter_user("ann", 1));
    EXPECT_TRUE(registration.enter_address(kAddress, 1));
    EXPECT_EQ(shared_.unauthenticated_clients.count(), 1U);
    EXPECT_EQ(listener_->unauthenticated_clients.count(), 1U);
    EXPECT_EQ(shared_.sessions.taken(), 1U);
    EXPECT_EQ(listener_->sessions.taken(), 1U);
    EXPECT_FALSE(listener_->users.acquire("ann", 1));
    EXPECT_FALSE(listener_->addresses.acquire(kAddress, 1));
    EXPECT_TRUE(shared_.cancel_routes.find(kKey).has_value());
  }
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  EXPECT_EQ(listener_->unauthenticated_clients.count(), 0U);
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_EQ(listener_->sessions.taken(), 0U);
  EXPECT_EQ(listener_->users.size(), 0U);
  EXPECT_EQ(listener_->addresses.size(), 0U);
  EXPECT_FALSE(shared_.cancel_routes.find(kKey).has_value());
}

TEST_F(ARegistration, TakesNoPlaceOfTheListenerIfTheProcessIsFull) {
  ASSERT_TRUE(shared_.sessions.acquire(1));
  SessionRegistration registration(shared_, listener_);
  EXPECT_FALSE(registration.enter_session({.of_process = 1, .of_listener = 5}));
  EXPECT_EQ(listener_->sessions.taken(), 0U);
}

TEST_F(ARegistration, CountsNoMoreSessionsThanItsListenerMayHave) {
  ASSERT_TRUE(listener_->sessions.acquire(1));
  SessionRegistration registration(shared_, listener_);
  EXPECT_FALSE(registration.enter_session({.of_process = 5, .of_listener = 1}));
  EXPECT_EQ(shared_.sessions.taken(), 0U);
}

TEST_F(ARegistration, DoesNotGiveBackWhatItCouldNotTake) {
  ASSERT_TRUE(listener_->users.acquire("ann", 1));
  ASSERT_TRUE(listener_->addresses.acquire(kAddress, 1));
  {
    SessionRegistration registration(shared_, listener_);
    ASSERT_TRUE(registration.enter_session(kOneSession));
    EXPECT_FALSE(registration.enter_user("ann", 1));
    EXPECT_FALSE(registration.enter_address(kAddress, 1));
  }
  EXPECT_EQ(listener_->users.size(), 1U);
  EXPECT_EQ(listener_->addresses.size(), 1U);
}

TEST_F(ARegistration, WipesTheCancelKey) {
  const std::string text = "a key of thirty-two bytes' length";
  const protocol::CancelRequest key{7, {text.begin(), text.end()}};
  const test::FreedCopies freed(text);
  {
    SessionRegistration registration(shared_, listener_);
    registration.add_cancel_route(key, {});
  }
  EXPECT_EQ(freed.count(), 0U);
}

TEST_F(ARegistration, CountsASessionOnce) {
  SessionRegistration registration(shared_, listener_);
  EXPECT_TRUE(registration.enter_session(kOneSession));
  EXPECT_TRUE(registration.enter_session(kOneSession));
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(ARegistration, CountsNoMoreSessionsThanThereMayBe) {
  ASSERT_TRUE(shared_.sessions.acquire(1));
  SessionRegistration registration(shared_, listener_);
  EXPECT_FALSE(registration.enter_session(kOneSession));
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(ARegistration, DoesNotCountACancelRequestAsASession) {
  SessionRegistration registration(shared_, listener_);
  ASSERT_TRUE(registration.enter_session(kOneSession));
  EXPECT_TRUE(registration.enter_cancel());
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_EQ(shared_.cancels.taken(), 1U);
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
}

TEST_F(ARegistration, MovesWithWhatItHolds) {
  SessionRegistration first(shared_, listener_);
  ASSERT_TRUE(first.enter_session(kOneSession));
  first.add_cancel_route(kKey, {});
  {
    const SessionRegistration second(std::move(first));
    EXPECT_EQ(shared_.sessions.taken(), 1U);
    EXPECT_TRUE(shared_.cancel_routes.find(kKey).has_value());
  }
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  EXPECT_FALSE(shared_.cancel_routes.find(kKey).has_value());
}

}  // namespace
}  // namespace pgveil::proxy
