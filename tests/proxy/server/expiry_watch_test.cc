#include "proxy/server/expiry_watch.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "tests/support/captured_log.h"

namespace pgveil::proxy {
namespace {

using std::chrono::hours;
constexpr std::int64_t kDay = 86'400;

tls::Expiry expiring(std::int64_t begins, std::int64_t ends, const std::string& subject = "CN=a") {
  return {.file = "/a.crt",
          .kind = tls::Expiry::Kind::certificate,
          .subject = subject,
          .begins = begins,
          .ends = ends};
}

class AnExpiryWatch : public testing::Test {
 protected:
  void watch(std::vector<tls::Expiry> expiries, std::chrono::seconds notice = hours(30 * 24)) {
    watch_.watch(std::move(expiries), notice);
  }

  const std::int64_t now_ = std::time(nullptr);
  test::CapturedLog log_{LogConfig{}};
  Loop loop_;
  std::int64_t clock_ = now_;
  std::vector<ServerExpiry> of_servers_;
  ExpiryWatch watch_{loop_.get(), [this] { return of_servers_; }, [this] { return clock_; }};
};

TEST_F(AnExpiryWatch, WarnsOfWhatExpiresSoonAndOfWhatHasExpired) {
  watch({expiring(now_ - 300 * kDay, now_ + 10 * kDay + 60), expiring(0, 1'000'000'000, "CN=b"),
         expiring(now_, now_ + 300 * kDay, "CN=c")});
  const auto lines = log_.lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_TRUE(
      lines[0].starts_with("W certificate_expires kind=certificate subject=\"CN=a\" file=/a.crt expires="))
      << lines[0];
  EXPECT_NE(lines[0].find(" days_left=10 "), std::string::npos) << lines[0];
  EXPECT_TRUE(
      lines[1].starts_with("E certificate_expired kind=certificate subject=\"CN=b\" file=/a.crt "
                           "expires=2001-09-09T01:46:40Z hint="))
      << lines[1];
}

TEST_F(AnExpiryWatch, WarnsOnceADay) {
  const auto soon = expiring(now_ - 300 * kDay, now_ + 10 * kDay);
  watch({soon});
  watch({soon});
  watch({soon, expiring(now_ - 300 * kDay, now_ + 9 * kDay, "CN=b")});
  const auto lines = log_.lines();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_NE(lines[1].find("CN=b"), std::string::npos);
}

TEST_F(AnExpiryWatch, WarnsAgainAfterADay) {
  watch({expiring(now_ - 300 * kDay, now_ + 10 * kDay)});
  clock_ += kDay - 1;
  watch_.look();
  clock_ += 1;
  watch_.look();
  EXPECT_EQ(log_.lines().size(), 2U);
}

TEST_F(AnExpiryWatch, WarnsOfTheCertificateThatAServerHasShown) {
  watch({});
  of_servers_ = {{.upstream = "primary", .expiry = expiring(now_ - 300 * kDay, now_ + 10 * kDay + 60)}};
  of_servers_[0].expiry.file.clear();
  watch_.look();
  watch_.look();
  const auto lines = log_.lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(
      lines[0].starts_with("W certificate_expires kind=certificate subject=\"CN=a\" upstream=primary "))
      << lines[0];
  EXPECT_NE(lines[0].find("renew its certificate"), std::string::npos) << lines[0];
}

TEST_F(AnExpiryWatch, WarnsOfTheNextCertificateOfTheSameFile) {
  watch({expiring(now_ - 300 * kDay, now_ + 10 * kDay)});
  watch({expiring(now_ - 300 * kDay, now_ + 11 * kDay)});
  EXPECT_EQ(log_.lines().size(), 2U);
}

TEST_F(AnExpiryWatch, IsSilentWithoutANotice) {
  watch({expiring(0, 1'000'000'000)}, hours(0));
  EXPECT_TRUE(log_.lines().empty());
}

}  // namespace
}  // namespace pgveil::proxy
