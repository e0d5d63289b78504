#include "proxy/doctor/own_files.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

using test::Identity;
using test::sent;

constexpr std::int64_t kNow = 1'000'000;

// Returns the bytes of lines of base64.
std::string base64_decoded(std::string text) {
  std::erase(text, '\n');
  std::string bytes(text.size(), '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  const auto padding = std::ranges::count(text, '=');
  bytes.resize(static_cast<std::size_t>(size - padding));
  return bytes;
}

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
  // The chain is refused with `failure` for the server's certificate.
  void refuse(tls::Failure failure) {
    const auto& values = chain_.front().values;
    refusal_ = tls::FailureReport{
        .failure = failure, .reason = {}, .subject = values.subject, .issuer = values.issuer, .detail = {}};
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
  refuse(tls::Failure::revoked);
  const auto steps = of_crl();
  EXPECT_EQ(steps.front().outcome, Outcome::failed);
  EXPECT_EQ(steps.front().reason, Reason::upstream_certificate_revoked);
}

TEST_F(AReviewOfCrls, FailsWithOneThatIsNotCurrent) {
  refuse(tls::Failure::crl_unusable);
  crl_.next_update = kNow - 1;
  EXPECT_EQ(of_crl().front().reason, Reason::upstream_crl_unusable);
  crl_.next_update.reset();
  EXPECT_EQ(of_crl().front().outcome, Outcome::passed);
  crl_.this_update = kNow + 1;
  EXPECT_EQ(of_crl().front().reason, Reason::upstream_crl_unusable);
}

TEST_F(AReviewOfCrls, FailsWithoutOneOfTheAuthority) {
  crl_.issuer = "CN=other";
  refuse(tls::Failure::crl_unusable);
  const auto steps = of_crl();
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps.front().outcome, Outcome::noted);
  EXPECT_EQ(steps.back().reason, Reason::upstream_crl_unusable);
  EXPECT_NE(steps.back().text.find("no CRL of \"CN=root\""), std::string::npos);
}

TEST_F(AReviewOfCrls, NotesWhatTheChainIsNotRefusedFor) {
  crl_.revoked.push_back({.serial = chain_.front().values.serial, .time = 0});
  tls::StoredCrl old = crl_;
  old.next_update = kNow - 1;
  tls::StoredCrl of_another = crl_;
  of_another.issuer = "CN=other";
  const auto is_noted = [](const Step& step) { return step.outcome == Outcome::noted && !step.reason; };
  for (const auto& crl : {crl_, old, of_another})
    EXPECT_TRUE(std::ranges::all_of(of({{"root.crl", crl}}), is_noted));
  // Nor for a fault of another certificate.
  refuse(tls::Failure::revoked);
  refusal_->subject = "CN=other";
  EXPECT_TRUE(std::ranges::all_of(of_crl(), is_noted));
}

TEST_F(AReviewOfCrls, IsEmptyWithoutTheSettingOrAChain) {
  upstream_.tls.sslcrl.clear();
  EXPECT_TRUE(of_crl().empty());
  upstream_.tls.sslcrl = "root.crl";
  chain_.clear();
  EXPECT_TRUE(of_crl().empty());
}

class AKeyStep : public testing::Test {
 protected:
  [[nodiscard]] Step of(const std::string& content) const {
    return key_step("own key", folder_.write("own.key", content));
  }
  // The outcome is that the key passes, and is described with these words.
  void expect(const std::string& content, const std::string& words) const {
    const Step step = of(content);
    EXPECT_EQ(step.outcome, Outcome::passed);
    EXPECT_NE(step.text.find(", " + words + ", fits the certificate"), std::string::npos) << step.text;
  }
  // In PKCS #8.
  [[nodiscard]] std::string encrypted_der() const {
    const std::string pem = key_.key_pem("a passphrase");
    const auto begin = pem.find('\n') + 1;
    return base64_decoded(pem.substr(begin, pem.find("-----END") - begin));
  }

  test::TemporaryFolder folder_;
  const Identity key_ = test::authority("own");
};

TEST_F(AKeyStep, SaysWhetherTheKeyIsEncryptedAndWhetherItIsInDer) {
  expect(key_.key_pem(), "not encrypted");
  expect(key_.key_pem("a passphrase"), "encrypted");
  expect(key_.key_der(), "not encrypted, in DER");
}

// Such as an encrypted key in DER, which pgveil does not load.
TEST_F(AKeyStep, DoesNotSayThatAFileWithoutAKeyFits) {
  for (const std::string& content : {encrypted_der(), key_.certificate_pem(), std::string("not a key")}) {
    const Step step = of(content);
    EXPECT_EQ(step.outcome, Outcome::noted);
    EXPECT_TRUE(step.text.ends_with("own.key: no longer has a key that can be loaded")) << step.text;
  }
}

}  // namespace
}  // namespace pgveil::proxy
