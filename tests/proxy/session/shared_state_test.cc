#include "proxy/session/shared_state.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

const protocol::CancelRequest kKey{7, {1, 2, 3, 4}};

class ARegistration : public ::testing::Test {
 protected:
  ARegistration() { shared_.unauthenticated_clients.enter(); }

  SharedState shared_{1, 10, [] {}};
};

TEST_F(ARegistration, GivesEverythingBackWhenItGoes) {
  {
    SessionRegistration registration(shared_);
    EXPECT_TRUE(registration.enter_session(10));
    registration.add_cancel_route(kKey, {});
    EXPECT_EQ(shared_.unauthenticated_clients.count(), 1U);
    EXPECT_EQ(shared_.sessions.taken(), 1U);
    EXPECT_TRUE(shared_.cancel_routes.find(kKey).has_value());
  }
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_FALSE(shared_.cancel_routes.find(kKey).has_value());
}

TEST_F(ARegistration, WipesTheCancelKey) {
  const std::string text = "a key of thirty-two bytes' length";
  const protocol::CancelRequest key{7, {text.begin(), text.end()}};
  const test::FreedCopies freed(text);
  {
    SessionRegistration registration(shared_);
    registration.add_cancel_route(key, {});
  }
  EXPECT_EQ(freed.count(), 0U);
}

TEST_F(ARegistration, CountsASessionOnce) {
  SessionRegistration registration(shared_);
  EXPECT_TRUE(registration.enter_session(1));
  EXPECT_TRUE(registration.enter_session(1));
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(ARegistration, CountsNoMoreSessionsThanThereMayBe) {
  ASSERT_TRUE(shared_.sessions.acquire(1));
  SessionRegistration registration(shared_);
  EXPECT_FALSE(registration.enter_session(1));
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(ARegistration, DoesNotCountACancelRequestAsASession) {
  SessionRegistration registration(shared_);
  ASSERT_TRUE(registration.enter_session(1));
  EXPECT_TRUE(registration.enter_cancel());
  EXPECT_EQ(shared_.sessions.taken(), 0U);
  EXPECT_EQ(shared_.cancels.taken(), 1U);
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
}

TEST_F(ARegistration, MovesWithWhatItHolds) {
  SessionRegistration first(shared_);
  ASSERT_TRUE(first.enter_session(1));
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
