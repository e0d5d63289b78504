#include "tls/expiry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <ctime>

#include "tests/support/certificates.h"

namespace pgveil::tls {
namespace {

using pgveil::test::CertificateRequest;

CertificateRequest lasting(const std::string& name, std::chrono::hours life) {
  CertificateRequest request;
  request.common_names = {name};
  request.not_after = life;
  return request;
}

// In hours from now.
std::int64_t hours(std::int64_t time) {
  return std::lround(static_cast<double>(time - std::time(nullptr)) / 3'600);
}

constexpr std::int64_t kSecondsOfDay = 86'400;

Expiry lasting_days(std::int64_t begins, std::int64_t ends) {
  return {
      .file = "/a.crt", .kind = Expiry::Kind::certificate, .subject = "CN=a", .begins = begins, .ends = ends};
}

TEST(ExpiresSoon, IsTrueWithinTheNotice) {
  const auto year = lasting_days(0, 365 * kSecondsOfDay);
  EXPECT_FALSE(expires_soon(year, 335 * kSecondsOfDay, std::chrono::hours(30 * 24)));
  EXPECT_TRUE(expires_soon(year, 335 * kSecondsOfDay + 1, std::chrono::hours(30 * 24)));
  EXPECT_TRUE(expires_soon(year, 400 * kSecondsOfDay, std::chrono::hours(30 * 24)));
}

TEST(ExpiresSoon, IsTrueInTheLastThirdOfAShortLife) {
  const auto nine_days = lasting_days(0, 9 * kSecondsOfDay);
  EXPECT_FALSE(expires_soon(nine_days, 6 * kSecondsOfDay, std::chrono::hours(30 * 24)));
  EXPECT_TRUE(expires_soon(nine_days, 6 * kSecondsOfDay + 1, std::chrono::hours(30 * 24)));
}

class ExpiryTest : public testing::Test {
 protected:
  pgveil::test::TemporaryFolder folder_;
  const pgveil::test::Identity root_ = pgveil::test::authority("root");
};

TEST_F(ExpiryTest, IsFoundForEachCertificateOfAFile) {
  const auto leaf = pgveil::test::issued_by(root_, lasting("leaf", std::chrono::hours(5)));
  const auto key_between = leaf.certificate_pem() + leaf.key_pem() + root_.certificate_pem();
  folder_.write("chain", key_between);
  const auto found = expiries_in(folder_.path("chain"), Expiry::Kind::certificate);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].subject, "CN=leaf");
  EXPECT_EQ(found[0].file, folder_.path("chain"));
  EXPECT_EQ(found[0].kind, Expiry::Kind::certificate);
  EXPECT_EQ(hours(found[0].ends), 5);
  EXPECT_EQ(hours(found[0].begins), -1);
  EXPECT_EQ(found[1].subject, "CN=root");
}

TEST_F(ExpiryTest, OfACrlIsItsNextUpdate) {
  folder_.write("crl", pgveil::test::crl_pem(root_, {}, std::chrono::hours(7)));
  const auto found = expiries_in(folder_.path("crl"), Expiry::Kind::authority);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].kind, Expiry::Kind::crl);
  EXPECT_EQ(found[0].subject, "CN=root");
  EXPECT_EQ(hours(found[0].ends), 7);
}

TEST_F(ExpiryTest, IsTheLastOneOfSeveralWithOneSubject) {
  folder_.write("both", pgveil::test::self_signed(lasting("a", std::chrono::hours(2))).certificate_pem() +
                            pgveil::test::self_signed(lasting("a", std::chrono::hours(9))).certificate_pem() +
                            pgveil::test::self_signed(lasting("a", std::chrono::hours(4))).certificate_pem());
  const auto found = expiries_in(folder_.path("both"), Expiry::Kind::authority);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(hours(found[0].ends), 9);
}

TEST_F(ExpiryTest, IsThatOfTheOneThatIsValidNow) {
  using std::chrono::hours;
  const auto crl = [&](int begins, int ends) {
    return crl_of(root_, {.this_update = hours(begins), .next_update = hours(ends)});
  };
  const auto found_in = [&](const std::string& crls) {
    folder_.write("crls", crls);
    const auto found = expiries_in(folder_.path("crls"), Expiry::Kind::crl, std::time(nullptr));
    return found.size() == 1 ? pgveil::tls::hours(found[0].ends) : -1'000;
  };
  EXPECT_EQ(found_in(crl(-2, 7) + crl(5, 20)), 7);
  EXPECT_EQ(found_in(crl(5, 20) + crl(-2, 7)), 7);
  EXPECT_EQ(found_in(crl(-2, 7) + crl(5, 20) + crl(-1, 8)), 8);
  EXPECT_EQ(found_in(crl(-9, -3) + crl(-2, 7)), 7);
  EXPECT_EQ(found_in(crl(-9, -3) + crl(5, 20)), 20);
  // A warning is not due before the last one expires.
  folder_.write("crls", crl(-2, 7) + crl(5, 20));
  EXPECT_EQ(pgveil::tls::hours(expiries_in(folder_.path("crls"), Expiry::Kind::crl).at(0).ends), 20);
}

TEST_F(ExpiryTest, OfAFileOfOurOwnIsThatOfItsFirstCertificateAlsoAfterCrls) {
  const auto other = pgveil::test::authority("other");
  folder_.write("own", pgveil::test::crl_pem(root_, {}, std::chrono::hours(7)) +
                           pgveil::test::crl_pem(other, {}, std::chrono::hours(7)) +
                           pgveil::test::self_signed(lasting("a", std::chrono::hours(2))).certificate_pem() +
                           pgveil::test::self_signed(lasting("a", std::chrono::hours(9))).certificate_pem());
  const auto found = expiries_in(folder_.path("own"), Expiry::Kind::certificate);
  ASSERT_EQ(found.size(), 3U);
  const auto own = std::ranges::find(found, Expiry::Kind::certificate, &Expiry::kind);
  ASSERT_NE(own, found.end());
  EXPECT_EQ(hours(own->ends), 2);
}

TEST_F(ExpiryTest, OfAFileOfOurOwnIsThatOfItsFirstCertificate) {
  folder_.write("own", pgveil::test::self_signed(lasting("a", std::chrono::hours(2))).certificate_pem() +
                           pgveil::test::self_signed(lasting("a", std::chrono::hours(9))).certificate_pem());
  for (const auto now : {std::optional<std::int64_t>(), std::optional<std::int64_t>(std::time(nullptr))}) {
    const auto found = expiries_in(folder_.path("own"), Expiry::Kind::certificate, now);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(hours(found[0].ends), 2);
  }
}

TEST_F(ExpiryTest, IsNotFoundInOtherFiles) {
  folder_.write("key", root_.key_pem("a passphrase"));
  folder_.write("text", "not PEM");
  for (const char* name : {"key", "text", "nothing"})
    EXPECT_TRUE(expiries_in(folder_.path(name), Expiry::Kind::certificate).empty()) << name;
}

}  // namespace
}  // namespace pgveil::tls
