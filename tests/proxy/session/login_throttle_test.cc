#include "proxy/session/login_throttle.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;
using Clock = LoginThrottle::Clock;

ClientNetwork network(const std::string& host) {
  return *ClientNetwork::of(*kernel_address(SocketAddress{.host = host, .port = 1, .unix_path = ""}));
}

const ClientNetwork kOneNetwork = network("192.0.2.1");
const ClientNetwork kOther = network("192.0.2.2");
const Clock::time_point kStart = Clock::now();
constexpr Rate kTwoASecond{.count = 2, .interval = 1s};

TEST(LoginThrottle, GivesAsManyLoginsAtOnceAsTheRateSays) {
  LoginThrottle throttle;
  EXPECT_TRUE(throttle.take(kOneNetwork, kTwoASecond, kStart));
  EXPECT_TRUE(throttle.take(kOneNetwork, kTwoASecond, kStart));
  EXPECT_FALSE(throttle.take(kOneNetwork, kTwoASecond, kStart));
  EXPECT_TRUE(throttle.take(kOther, kTwoASecond, kStart));
}

TEST(LoginThrottle, FillsTheBucketWithTime) {
  LoginThrottle throttle;
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(throttle.take(kOneNetwork, kTwoASecond, kStart));
  EXPECT_FALSE(throttle.take(kOneNetwork, kTwoASecond, kStart + 400ms));
  EXPECT_TRUE(throttle.take(kOneNetwork, kTwoASecond, kStart + 600ms));
  // However long it was not used, it has no more than its maximum.
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(throttle.take(kOneNetwork, kTwoASecond, kStart + 1h));
  EXPECT_FALSE(throttle.take(kOneNetwork, kTwoASecond, kStart + 1h));
}

TEST(LoginThrottle, LetsAnAddressWithoutAFailedLoginInAtOnce) {
  LoginThrottle throttle;
  throttle.on_failed_login(kOther, 2s, kStart);
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, kStart, kStart + 15s), kStart);
}

TEST(LoginThrottle, PutsLoginsAfterAFailedOneInARow) {
  LoginThrottle throttle;
  throttle.on_failed_login(kOneNetwork, 2s, kStart);
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, kStart, kStart + 5s), kStart + 2s);
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, kStart, kStart + 5s), kStart + 4s);
  // These are too late, and do not delay others.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, kStart, kStart + 5s), kStart + 6s);
}

TEST(LoginThrottle, ForgetsFailedLoginsAfterASuccessfulOne) {
  LoginThrottle throttle;
  throttle.on_failed_login(kOneNetwork, 2s, kStart);
  throttle.on_login(kOneNetwork);
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, kStart, kStart + 5s), kStart);
}

// Otherwise many logins could be tried at once after each pause.
TEST(LoginThrottle, PutsLoginsInARowAlsoAfterAPause) {
  LoginThrottle throttle;
  throttle.on_failed_login(kOneNetwork, 2s, kStart);
  const auto later = kStart + 1h;
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, later, later + 5s), later);
  EXPECT_EQ(throttle.reserve(kOneNetwork, 2s, later, later + 5s), later + 2s);
}

TEST(LoginThrottle, RemembersABoundedNumberOfAddresses) {
  LoginThrottle throttle;
  throttle.on_failed_login(kOneNetwork, 2s, kStart);
  for (std::size_t i = 0; i < LoginThrottle::kMaxAddresses + 10; ++i) {
    const std::string host = "10.1." + std::to_string(i / 256) + '.' + std::to_string(i % 256);
    EXPECT_TRUE(throttle.take(network(host), kTwoASecond, kStart));
    // An address in use is not the one that is forgotten.
    if (i % 1000 == 0) {
      EXPECT_GT(throttle.reserve(kOneNetwork, 2s, kStart, kStart), kStart);
    }
  }
  EXPECT_EQ(throttle.size(), LoginThrottle::kMaxAddresses);
  EXPECT_GT(throttle.reserve(kOneNetwork, 2s, kStart, kStart), kStart);
}

TEST(LoginThrottle, CountsA64OfIpv6AsOneAddress) {
  LoginThrottle throttle;
  for (int i = 0; i < 2; ++i)
    ASSERT_TRUE(throttle.take(network("2001:db8:1:2::" + std::to_string(i)), kTwoASecond, kStart));
  EXPECT_FALSE(throttle.take(network("2001:db8:1:2:ffff::1"), kTwoASecond, kStart));
  EXPECT_TRUE(throttle.take(network("2001:db8:1:3::1"), kTwoASecond, kStart));
}

}  // namespace
}  // namespace pgveil::proxy
