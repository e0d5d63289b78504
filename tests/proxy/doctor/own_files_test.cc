#include "proxy/doctor/own_files.h"

#include <gtest/gtest.h>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

using test::Identity;
using test::sent;

constexpr std::int64_t kNow = 1'000'000;

class AReviewOfCrls : public testing::Test {
 protected:
  AReviewOfCrls() {
    upstream_.hosts = {{.host = "db01", .hostaddr = "", .port = 5432}};
    upstream_.tls.sslcrl = "root.crl";
    chain_ = sent({&leaf_, &root_});
    crl_.issuer = "CN=root";
    crl_.this_update = kNow - 10;
    crl_.next_update = kNow + 10;
  }
  [[nodiscard]] std::vector<Step> of(const std::vector<CrlInFile>& crls) const {
    return review_crls(crls, {upstream_, survey_, chain_, refusal_}, kNow);
  }
  [[nodiscard]] std::vector<Step> of_crl() const { return of({{"root.crl", crl_}}); }

  UpstreamConfig upstream_;
  ServerSurvey survey_;
  const Identity root_ = test::authority("root");
  const Identity leaf_ = test::issued_by(root_, test::server("db01"));
  std::vector<tls::StoredCertificate> chain_;
  std::optional<tls::FailureReport> refusal_;
  tls::StoredCrl crl_;
};

TEST_F(AReviewOfCrls, PassesWithACurrentOneThatRevokesOthers) {
  crl_.revoked.push_back({.serial = "abc", .time = 0});
  const auto steps = of_crl();
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps.front().outcome, Outcome::passed);
  EXPECT_NE(steps.front().text.find("1 revoked; none of the chain"), std::string::npos);
}

TEST_F(AReviewOfCrls, FindsTheRevokedCertificate) {
  crl_.revoked.push_back({.serial = chain_.front().values.serial, .time = 0});
  const auto steps = of_crl();
  EXPECT_EQ(steps.front().outcome, Outcome::failed);
  EXPECT_EQ(steps.front().reason, Reason::upstream_certificate_revoked);
}

TEST_F(AReviewOfCrls, FailsWithOneThatIsNotCurrent) {
  crl_.next_update = kNow - 1;
  EXPECT_EQ(of_crl().front().reason, Reason::upstream_crl_unusable);
  crl_.next_update.reset();
  EXPECT_EQ(of_crl().front().outcome, Outcome::passed);
  crl_.this_update = kNow + 1;
  EXPECT_EQ(of_crl().front().reason, Reason::upstream_crl_unusable);
}

TEST_F(AReviewOfCrls, FailsWithoutOneOfTheAuthority) {
  crl_.issuer = "CN=other";
  const auto steps = of_crl();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps.front().outcome, Outcome::noted);
  EXPECT_EQ(steps.back().reason, Reason::upstream_crl_unusable);
  EXPECT_NE(steps.back().text.find("no CRL of \"CN=root\""), std::string::npos);
}

TEST_F(AReviewOfCrls, IsEmptyWithoutTheSettingOrAChain) {
  upstream_.tls.sslcrl.clear();
  EXPECT_TRUE(of_crl().empty());
  upstream_.tls.sslcrl = "root.crl";
  chain_.clear();
  EXPECT_TRUE(of_crl().empty());
}

}  // namespace
}  // namespace pgveil::proxy
