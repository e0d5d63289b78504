#include "proxy/doctor/finding.h"

#include <gtest/gtest.h>

#include <netinet/in.h>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

using test::Identity;
using test::sent;
using Answer = protocol::UpstreamGreeting::Answer;

KernelAddress address(std::uint16_t port) {
  return *kernel_address(SocketAddress{.host = "10.0.0.7", .port = port, .unix_path = ""});
}

class AFinding : public testing::Test {
 protected:
  AFinding() { upstream_.hosts = {{.host = "db01", .hostaddr = "", .port = 5433}}; }

  void connect(const std::string& error = "") {
    survey_.attempts.push_back({.address = address(5433), .error = error});
  }
  [[nodiscard]] Finding of(Reason reason) const {
    return finding_of({.reason = reason, .detail = "It is so.", .hint = "Change it."},
                      {upstream_, survey_, chain_, refusal_});
  }

  UpstreamConfig upstream_;
  ServerSurvey survey_;
  std::vector<tls::StoredCertificate> chain_;
  std::optional<tls::FailureReport> refusal_;
  const Identity root_ = test::authority("root");
  const Identity middle_ = test::issued_by(root_, test::intermediate("middle"));
};

TEST_F(AFinding, HasTheCauseOfTheSession) {
  EXPECT_EQ(of(Reason::upstream_refused_tls).cause, "It is so.");
}

TEST_F(AFinding, NamesTheSettingsOfAServerWithoutTls) {
  const auto finding = of(Reason::upstream_refused_tls);
  EXPECT_EQ(finding.side, Side::server);
  EXPECT_NE(finding.remedy.find("ssl = on"), std::string::npos);
}

TEST_F(AFinding, OfSeveralAddressesHasOneSentence) {
  connect("Connection refused");
  connect("No route to host");
  EXPECT_EQ(of(Reason::upstream_unreachable).cause,
            "None of the 2 addresses of \"db01\" accepts connections on port 5433.");
}

TEST_F(AFinding, OfARefusedConnectionIsOnTheServer) {
  connect("Connection refused");
  EXPECT_EQ(of(Reason::upstream_unreachable).side, Side::server);
}

TEST_F(AFinding, OfAnUnreachableHostIsInTheNetwork) {
  connect("No route to host");
  EXPECT_EQ(of(Reason::upstream_unreachable).side, Side::network);
}

TEST_F(AFinding, OfAUnixSocketNamesItsSettings) {
  upstream_.hosts = {{.host = "/run/postgresql", .hostaddr = "", .port = 5432}};
  EXPECT_NE(of(Reason::upstream_unreachable).remedy.find("unix_socket_directories"), std::string::npos);
}

TEST_F(AFinding, OfAConnectionThatIsClosedAtOnceIsOnTheServer) {
  connect();
  EXPECT_EQ(of(Reason::upstream_unreachable).side, Side::server);
}

TEST_F(AFinding, OfDirectTlsNamesTheVersionThatKnowsIt) {
  connect();
  upstream_.sslnegotiation = SslNegotiation::direct;
  survey_.handshake = HandshakeResult{.server = std::nullopt, .error = "closed"};
  EXPECT_NE(of(Reason::upstream_tls_failed).remedy.find("PostgreSQL 17"), std::string::npos);
  survey_.handshake->server.emplace();
  EXPECT_EQ(of(Reason::upstream_tls_failed).remedy, "Change it.");
}

TEST_F(AFinding, OfSilenceDependsOnWhetherTcpWasConnected) {
  connect("no answer in time");
  EXPECT_EQ(of(Reason::upstream_timed_out).side, Side::network);
  survey_.attempts.back().error.clear();
  EXPECT_EQ(of(Reason::upstream_timed_out).side, Side::server);
}

TEST_F(AFinding, RecognizesAnHttpServer) {
  connect();
  survey_.greeting =
      GreetingReply{.answer = Answer::unexpected_byte, .byte = 'H', .is_http = true, .error = {}};
  const auto finding = of(Reason::upstream_protocol_violation);
  EXPECT_EQ(finding.side, Side::client);
  EXPECT_NE(finding.remedy.find("HTTP"), std::string::npos);
}

TEST_F(AFinding, SaysWhatToUseInsteadOfAnotherServer) {
  connect();
  survey_.responder = Responder::https;
  EXPECT_NE(of(Reason::upstream_unreachable).remedy.find("HTTPS"), std::string::npos);
  survey_.responder = Responder::direct_tls;
  EXPECT_NE(of(Reason::upstream_unreachable).remedy.find("sslnegotiation to direct"), std::string::npos);
  survey_.responder = Responder::tls;
  EXPECT_NE(of(Reason::upstream_timed_out).remedy.find("alpn postgresql"), std::string::npos);
  survey_.responder = Responder::http;
  EXPECT_EQ(of(Reason::upstream_timed_out).side, Side::client);
  survey_.responder = Responder::silent;
  EXPECT_EQ(of(Reason::upstream_timed_out).side, Side::server);
}

TEST_F(AFinding, OfACrlNamesTheSettingThatIsSet) {
  upstream_.tls.sslcrl = "root.crl";
  EXPECT_EQ(of(Reason::upstream_crl_unusable).remedy,
            "Put a current CRL of each authority in the chain into the file of sslcrl, or leave out sslcrl.");
  upstream_.tls.sslcrldir = "crls";
  EXPECT_EQ(
      of(Reason::upstream_crl_unusable).remedy,
      "Put a current CRL of each authority in the chain into the file of sslcrl, or into the directory of "
      "sslcrldir and run openssl rehash on it; or leave out both.");
  upstream_.tls.sslcrl.clear();
  EXPECT_EQ(
      of(Reason::upstream_crl_unusable).remedy,
      "Put a current CRL of each authority in the chain into the directory of sslcrldir and run openssl "
      "rehash on it, or leave out sslcrldir.");
}

TEST_F(AFinding, IsAboutPgveilIfTheSettingsAreThoseOfAConfiguration) {
  survey_.greeting =
      GreetingReply{.answer = Answer::unexpected_byte, .byte = 'H', .is_http = true, .error = {}};
  upstream_.name = "primary";
  EXPECT_EQ(of(Reason::upstream_protocol_violation).side, Side::pgveil);
}

TEST_F(AFinding, NamesTheMissingAuthority) {
  const Identity leaf = test::issued_by(middle_, test::server("db01"));
  chain_ = sent({&leaf});
  const auto finding = of(Reason::upstream_certificate_untrusted);
  EXPECT_EQ(finding.side, Side::server);
  EXPECT_NE(finding.remedy.find("\"CN=middle\""), std::string::npos);
  EXPECT_NE(finding.remedy.find("ssl_cert_file"), std::string::npos);
}

TEST_F(AFinding, NamesTheRootThatWasSentAndIsNotTrusted) {
  const Identity leaf = test::issued_by(root_, test::server("db01"));
  chain_ = sent({&leaf, &root_});
  const auto finding = of(Reason::upstream_certificate_untrusted);
  EXPECT_EQ(finding.side, Side::client);
  EXPECT_NE(finding.remedy.find("\"CN=root\" to the file of sslrootcert"), std::string::npos);
}

TEST_F(AFinding, HasTheFingerprintOfASelfSignedCertificate) {
  const Identity own = test::self_signed(test::server("db01"));
  chain_ = sent({&own});
  EXPECT_NE(of(Reason::upstream_certificate_untrusted).remedy.find(chain_.front().values.sha256_fingerprint),
            std::string::npos);
}

TEST_F(AFinding, TellsAnExpiredAuthorityFromAnExpiredServer) {
  EXPECT_EQ(of(Reason::upstream_certificate_expired).side, Side::server);
  refusal_ = tls::FailureReport{.failure = tls::Failure::expired,
                                .reason = {},
                                .depth = 1,
                                .subject = "CN=middle",
                                .issuer = {},
                                .detail = {}};
  const auto finding = of(Reason::upstream_certificate_expired);
  EXPECT_EQ(finding.side, Side::authority);
  EXPECT_NE(finding.remedy.find("CN=middle"), std::string::npos);
}

TEST_F(AFinding, TellsARevokedAuthorityFromARevokedServer) {
  EXPECT_NE(of(Reason::upstream_certificate_revoked).remedy.find("with a new key"), std::string::npos);
  refusal_ = tls::FailureReport{.failure = tls::Failure::revoked,
                                .reason = {},
                                .depth = 1,
                                .subject = "CN=middle",
                                .issuer = {},
                                .detail = {}};
  EXPECT_NE(of(Reason::upstream_certificate_revoked).remedy.find("than \"CN=middle\""), std::string::npos);
}

TEST_F(AFinding, OfAStepIsAboutTheCertificateOfTheStep) {
  const Identity leaf = test::issued_by(middle_, test::server("db01"));
  chain_ = sent({&leaf, &middle_});
  const auto& middle = chain_.back().values;
  refusal_ = tls::FailureReport{.failure = tls::Failure::expired,
                                .reason = {},
                                .depth = 1,
                                .subject = middle.subject,
                                .issuer = middle.issuer,
                                .detail = {}};
  const Step expired{.name = "certificate",
                     .outcome = Outcome::failed,
                     .text = "expired",
                     .reason = Reason::upstream_certificate_expired};
  std::vector<Step> steps{expired, expired};
  steps[0].certificate = 0;
  steps[1].certificate = 1;
  explain_faults(steps, Reason::upstream_certificate_expired, {upstream_, survey_, chain_, refusal_});
  ASSERT_TRUE(steps[0].finding);
  EXPECT_EQ(steps[0].finding->side, Side::server);
  EXPECT_FALSE(steps[1].finding);
  explain_faults(steps, Reason::upstream_certificate_revoked, {upstream_, survey_, chain_, refusal_});
  EXPECT_NE(steps[1].finding->remedy.find("\"CN=middle\""), std::string::npos);
}

TEST_F(AFinding, ProposesHostAndHostaddrForAWrongName) {
  const Identity leaf = test::issued_by(root_, test::server("db", {test::dns("db.example.com")}));
  chain_ = sent({&leaf});
  connect();
  EXPECT_EQ(
      of(Reason::upstream_certificate_wrong_name).remedy,
      "Set host to \"db.example.com\" and hostaddr to 10.0.0.7, or have the certificate reissued with the name "
      "\"db01\".");
}

TEST_F(AFinding, ProposesANewNameIfTheCertificateHasNoneToAskFor) {
  const Identity leaf = test::issued_by(root_, test::server("db", {test::dns("*.example.com")}));
  chain_ = sent({&leaf});
  EXPECT_EQ(of(Reason::upstream_certificate_wrong_name).remedy,
            "Have the certificate reissued with subjectAltName DNS:db01.");
}

TEST_F(AFinding, HasARemedyForEachReason) {
  for (const ReasonInfo& reason : all_reasons()) {
    const auto finding = finding_of({.reason = reason.reason}, {upstream_, survey_, chain_, refusal_});
    EXPECT_FALSE(finding.remedy.empty()) << reason.name;
    EXPECT_TRUE(finding.cause.ends_with('.')) << reason.name;
  }
}

TEST_F(AFinding, IsGivenToAFaultThatTheVerdictDoesNotName) {
  std::vector<Step> steps(2);
  steps[0] = {.name = "certificate",
              .outcome = Outcome::failed,
              .text = "it has expired",
              .reason = Reason::upstream_certificate_expired};
  steps[1] = {.name = "name",
              .outcome = Outcome::failed,
              .text = "\"db01\" is not a name",
              .reason = Reason::upstream_certificate_wrong_name};
  explain_faults(steps, Reason::upstream_certificate_expired, {upstream_, survey_, chain_, refusal_});
  EXPECT_FALSE(steps[0].finding);
  ASSERT_TRUE(steps[1].finding);
  EXPECT_EQ(steps[1].finding->cause, "\"db01\" is not a name.");
}

}  // namespace
}  // namespace pgveil::proxy
