#include "proxy/doctor/sslmode_forecast.h"

#include <gtest/gtest.h>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

using test::Identity;
using Result = SslModeForecast::Result;

class AForecast : public testing::Test {
 protected:
  AForecast() {
    upstream_.hosts = {{.host = "db01", .hostaddr = "", .port = 5432}};
    upstream_.tls.sslrootcert = "root.crt";
    survey_.attempts.push_back({.address = {}, .error = ""});
    survey_.greeting = GreetingReply{.answer = protocol::UpstreamGreeting::Answer::accepted, .error = {}};
    survey_.handshake = HandshakeResult{.server = tls::SurveyedServer{}, .error = {}};
    survey_.handshake->server->agreed.version = "TLSv1.3";
    survey_.versions.accepted = {tls::Version::tls1_2, tls::Version::tls1_3};
    chain_ = test::sent({&leaf_});
    set_plaintext(false);
  }

  void set_plaintext(bool is_admitted) {
    LoginReply reply;
    if (is_admitted)
      reply.asked = protocol::AuthenticationCode::sasl;
    else
      reply.refusal = protocol::ErrorFields{
          .severity = "FATAL", .sqlstate = "28000", .message = "no", .detail = {}, .hint = {}};
    replies_.in_plaintext = reply;
  }
  void refuse_tls() {
    survey_.greeting->answer = protocol::UpstreamGreeting::Answer::refused;
    survey_.handshake.reset();
    chain_.clear();
    verdict_.reason = Reason::upstream_refused_tls;
  }
  void refuse_chain(tls::Failure failure) {
    refusal_ = tls::FailureReport{
        .failure = failure, .reason = "no", .depth = 0, .subject = {}, .issuer = {}, .detail = {}};
    verdict_.reason = Reason::upstream_certificate_invalid;
  }
  [[nodiscard]] SslModeForecast of(const std::string& mode) const {
    return forecast_sslmodes({mode}, {upstream_, survey_, chain_, refusal_}, verdict_, replies_).front();
  }
  [[nodiscard]] std::string results() const {
    std::string text;
    for (const auto& forecast :
         forecast_sslmodes(sslmode_names(), {upstream_, survey_, chain_, refusal_}, verdict_, replies_))
      text += std::string(text.empty() ? "" : " ") + std::string(name_of(forecast.result));
    return text;
  }

  const Identity root_ = test::authority("root");
  const Identity leaf_ = test::issued_by(root_, test::server("db01", {test::dns("db01")}));
  UpstreamConfig upstream_;
  ServerSurvey survey_;
  std::vector<tls::StoredCertificate> chain_;
  std::optional<tls::FailureReport> refusal_;
  Verdict verdict_;
  LoginReplies replies_;
};

TEST_F(AForecast, OfAGoodServerThatRefusesPlaintext) {
  EXPECT_EQ(results(), "fails tls tls tls tls tls");
  EXPECT_TRUE(of("verify-full").unprotected.empty());
  for (const char* mode : {"prefer", "require", "verify-ca"})
    EXPECT_FALSE(of(mode).unprotected.empty()) << mode;
}

TEST_F(AForecast, OfAServerThatAdmitsPlaintext) {
  set_plaintext(true);
  EXPECT_EQ(results(), "plaintext plaintext tls tls tls tls");
  EXPECT_EQ(of("allow").unprotected, of("disable").unprotected);
  EXPECT_NE(of("prefer").unprotected, of("disable").unprotected);
}

TEST_F(AForecast, OfAServerWithoutTls) {
  refuse_tls();
  set_plaintext(true);
  EXPECT_EQ(results(), "plaintext plaintext plaintext fails fails fails");
}

// libpq uses a file of sslrootcert in each mode, and `prefer` then tries without TLS.
TEST_F(AForecast, OfAnUntrustedServerDependsOnTheRootFile) {
  refuse_chain(tls::Failure::untrusted_issuer);
  set_plaintext(true);
  EXPECT_EQ(results(), "plaintext plaintext plaintext fails fails fails");
  set_plaintext(false);
  EXPECT_EQ(results(), "fails fails fails fails fails fails");
  upstream_.tls.sslrootcert = "system";
  EXPECT_EQ(results(), "fails tls tls tls fails fails");
}

TEST_F(AForecast, OfAWrongNameFailsWithVerifyFullOnly) {
  upstream_.hosts.front().host = "db02";
  refuse_chain(tls::Failure::wrong_name);
  EXPECT_EQ(results(), "fails tls tls tls tls fails");
}

TEST_F(AForecast, WithoutALoginSaysThatPlaintextIsNotKnown) {
  replies_ = {};
  EXPECT_EQ(results(), "unknown unknown tls tls tls tls");
  EXPECT_NE(of("disable").text.find("--user"), std::string::npos);
}

TEST_F(AForecast, OfDirectTlsRefusesTheWeakModes) {
  upstream_.sslnegotiation = SslNegotiation::direct;
  survey_.handshake->server->protocol = "postgresql";
  EXPECT_EQ(results(), "fails fails fails tls tls tls");
  survey_.handshake->server->protocol.clear();
  verdict_.reason = Reason::upstream_tls_failed;
  EXPECT_EQ(results(), "fails fails fails fails fails fails");
}

TEST_F(AForecast, OfAServerThatIsTooOldOrRejectsUsHasNoTls) {
  survey_.versions.accepted = {tls::Version::tls1_1};
  survey_.handshake->server->agreed.version = "TLSv1.1";
  verdict_.reason = Reason::upstream_tls_failed;
  EXPECT_EQ(of("require").result, Result::fails);
  survey_.versions.accepted = {tls::Version::tls1_2};
  EXPECT_EQ(of("require").result, Result::tls);
  verdict_.reason = Reason::upstream_rejected_certificate;
  EXPECT_EQ(of("require").result, Result::fails);
}

TEST_F(AForecast, OfARefusedLoginFails) {
  replies_.over_tls = replies_.in_plaintext;
  EXPECT_EQ(results(), "fails fails fails fails fails fails");
}

TEST_F(AForecast, OfAServerThatIsNotReachedFails) {
  survey_.attempts.front().error = "Connection refused";
  verdict_.reason = Reason::upstream_unreachable;
  EXPECT_EQ(results(), "fails fails fails fails fails fails");
}

// The verdict is that of a later connection.
TEST_F(AForecast, OfAFaultThatHasPassedIsThatOfTheVerdict) {
  chain_.clear();
  survey_.handshake->server.reset();
  EXPECT_EQ(results(), "fails tls tls tls tls tls");
  refuse_tls();
  verdict_.reason.reset();
  EXPECT_EQ(results(), "fails tls tls tls tls tls");
  survey_.attempts.front().error = "timed out";
  replies_ = {};
  EXPECT_EQ(results(), "unknown unknown tls tls tls tls");
  EXPECT_NE(of("disable").text.find("the first connection failed"), std::string::npos);
}

TEST_F(AForecast, OfAServerThatRequiresACertificateFailsWithoutOne) {
  survey_.handshake->server->requires_certificate = true;
  verdict_.reason = Reason::upstream_tls_failed;
  EXPECT_EQ(of("require").result, Result::fails);
  EXPECT_NE(of("require").text.find("client certificate"), std::string::npos);
  upstream_.tls.sslcert = "client.crt";
  EXPECT_EQ(of("require").result, Result::tls);
}

}  // namespace
}  // namespace pgveil::proxy
