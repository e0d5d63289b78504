#include "proxy/doctor/survey_steps.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

KernelAddress address(const std::string& host) {
  return *kernel_address(SocketAddress{.host = host, .port = 5432, .unix_path = ""});
}

class SurveySteps : public testing::Test {
 protected:
  SurveySteps() { upstream_.hosts = {{.host = "db01", .hostaddr = "", .port = 5432}}; }

  // Returns the texts of the steps with this name.
  [[nodiscard]] std::vector<std::string> texts(const std::string& name) const {
    std::vector<std::string> found;
    for (const Step& step : steps())
      if (step.name == name) found.push_back(step.text);
    return found;
  }
  [[nodiscard]] std::vector<Step> steps() const {
    return steps_of({upstream_, survey_, chain_, refusal_}, 0);
  }
  using Texts = std::vector<std::string>;

  UpstreamConfig upstream_;
  ServerSurvey survey_;
  std::vector<tls::StoredCertificate> chain_;
  std::optional<tls::FailureReport> refusal_;
};

TEST_F(SurveySteps, HaveTheAddressesOfBothFamilies) {
  survey_.lookup.addresses = {address("::1"), address("127.0.0.1"), address("127.0.0.2")};
  EXPECT_EQ(texts("dns"), Texts{"IPv4 127.0.0.1, 127.0.0.2; IPv6 ::1"});
  survey_.lookup.addresses.pop_back();
  survey_.lookup.addresses.pop_back();
  EXPECT_EQ(texts("dns"), Texts{"no IPv4 address; IPv6 ::1"});
}

TEST_F(SurveySteps, HaveAFaultOnlyIfNoAddressAnswers) {
  survey_.attempts = {{.address = address("::1"), .error = "Connection refused"},
                      {.address = address("127.0.0.1"), .error = ""},
                      {.address = address("127.0.0.2"), .error = "no answer in time"}};
  EXPECT_EQ(texts("tcp"),
            (Texts{"[::1]:5432: Connection refused", "127.0.0.1:5432", "127.0.0.2:5432: no answer in time"}));
  const auto failed = [&] { return std::ranges::count(steps(), Outcome::failed, &Step::outcome); };
  const auto before = failed();
  survey_.attempts[1].error = "Connection refused";
  EXPECT_EQ(failed() - before, 3);
}

// Otherwise no cause and no remedy is shown.
TEST_F(SurveySteps, HaveAReasonForEachFault) {
  const auto expect_reasons = [&] {
    for (const Step& step : steps())
      EXPECT_EQ(step.outcome == Outcome::failed, step.reason.has_value()) << step.name;
  };
  survey_.lookup.error = "not found";
  expect_reasons();
  survey_.lookup.addresses = {address("127.0.0.1")};
  survey_.attempts = {{.address = address("127.0.0.1"), .error = "Connection refused"}};
  expect_reasons();
  survey_.attempts[0].error.clear();
  using Greeting = protocol::UpstreamGreeting::Answer;
  for (const Greeting answer : {Greeting::more, Greeting::accepted, Greeting::refused,
                                Greeting::error_response, Greeting::early_bytes, Greeting::unexpected_byte}) {
    survey_.greeting = GreetingReply{.answer = answer, .error = "no answer in time"};
    expect_reasons();
  }
  survey_.handshake = HandshakeResult{.server = std::nullopt, .error = "handshake failure"};
  expect_reasons();
  upstream_.sslnegotiation = SslNegotiation::direct;
  survey_.handshake->server = tls::SurveyedServer{};
  expect_reasons();
  survey_.handshake->server->chose_unknown_protocol = true;
  expect_reasons();
}

TEST_F(SurveySteps, HaveTheAnswerToGssencRequest) {
  for (const auto& [byte, word] : {std::pair('G', "G: "), std::pair('N', "N: "), std::pair('E', "E: "),
                                   std::pair('H', "byte 0x48"), std::pair('\0', "not known: closed")}) {
    survey_.gss = GssReply{.byte = byte, .error = "closed"};
    ASSERT_EQ(texts("GSSENC").size(), 1U);
    EXPECT_TRUE(texts("GSSENC").front().starts_with(word)) << word;
  }
}

TEST_F(SurveySteps, HaveAFaultOfACertificateOnlyIfTheChainIsRefused) {
  survey_.handshake.emplace().server.emplace();
  const auto root = test::authority("root");
  const auto extra = test::authority("extra");
  const auto leaf = test::issued_by(root, test::server("db01", {test::dns("db01")}));
  chain_ = test::sent({&leaf, &root, &extra});
  const auto outcomes = [&] {
    std::vector<Outcome> found;
    for (const Step& step :
         steps_of({upstream_, survey_, chain_, refusal_}, chain_.back().values.not_after + 1))
      if (step.name == "certificate") found.push_back(step.outcome);
    return found;
  };
  using enum Outcome;
  EXPECT_EQ(outcomes(), (std::vector{noted, noted, noted}));
  refusal_ = tls::FailureReport{.failure = tls::Failure::expired,
                                .reason = {},
                                .depth = 1,
                                .subject = chain_[1].values.subject,
                                .issuer = chain_[1].values.issuer,
                                .detail = {}};
  // The server's own certificate is needed in any case.
  EXPECT_EQ(outcomes(), (std::vector{failed, failed, noted}));
  refusal_->failure = tls::Failure::untrusted_issuer;
  EXPECT_EQ(outcomes(), (std::vector{failed, noted, noted}));
}

TEST_F(SurveySteps, TellDirectTlsWithoutAlpnFromThatOfPostgresql) {
  survey_.direct = HandshakeResult{.server = std::nullopt, .error = "closed"};
  EXPECT_TRUE(texts("direct TLS").front().starts_with("not accepted"));
  survey_.direct->server.emplace();
  EXPECT_TRUE(texts("direct TLS").front().starts_with("accepted without ALPN"));
  survey_.direct->server->protocol = "postgresql";
  EXPECT_EQ(texts("direct TLS").front(), "accepted, ALPN postgresql");
}

}  // namespace
}  // namespace pgveil::proxy
