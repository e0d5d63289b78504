#include "proxy/doctor/server_facts.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pgveil::proxy {
namespace {

class ServerFactsSteps : public testing::Test {
 protected:
  ServerFactsSteps() {
    agreed_.version = "TLSv1.3";
    agreed_.cipher = "TLS_AES_256_GCM_SHA384";
  }
  [[nodiscard]] Step step(const std::string& name) const {
    const auto steps = steps_of(facts_, agreed_, responder_);
    const auto found = std::ranges::find(steps, name, &Step::name);
    if (found != steps.end()) return *found;
    ADD_FAILURE() << name;
    return {};
  }

  ServerFacts facts_{
      .version = "15.8",
      .ssl = "on",
      .password_encryption = "scram-sha-256",
      .tls =
          BackendTls{
              .is_used = true, .version = "TLSv1.3", .cipher = "TLS_AES_256_GCM_SHA384", .bits = "256"},
      .rules = std::vector<HbaRule>(),
      .clock_lead = 0.1};
  tls::Established agreed_;
  Responder responder_ = Responder::postgresql;
};

TEST_F(ServerFactsSteps, PassIfAllIsRight) {
  for (const Step& step : steps_of(facts_, agreed_, responder_))
    EXPECT_NE(step.outcome, Outcome::failed) << step.name;
  EXPECT_EQ(step("pg_stat_ssl").outcome, Outcome::passed);
  EXPECT_EQ(step("version").text, "server_version 15.8");
}

TEST_F(ServerFactsSteps, TellATlsConnectionThatEndsBeforeTheServer) {
  facts_.tls->cipher = "ECDHE-RSA-AES128-GCM-SHA256";
  EXPECT_EQ(step("pg_stat_ssl").outcome, Outcome::noted);
  EXPECT_NE(step("pg_stat_ssl").text.find("in between"), std::string::npos);
  facts_.tls->is_used = false;
  EXPECT_NE(step("pg_stat_ssl").text.find("PgBouncer"), std::string::npos);
  facts_.ssl = "off";
  EXPECT_EQ(step("SHOW ssl").outcome, Outcome::noted);
}

TEST_F(ServerFactsSteps, TellTheTlsConnectionOfPgbouncerFromOurs) {
  responder_ = Responder::pgbouncer;
  EXPECT_EQ(step("pg_stat_ssl").outcome, Outcome::noted);
  EXPECT_NE(step("pg_stat_ssl").text.find("between PgBouncer and PostgreSQL"), std::string::npos);
  facts_.tls->is_used = false;
  EXPECT_NE(step("pg_stat_ssl").text.find("without TLS"), std::string::npos);
}

TEST_F(ServerFactsSteps, OfTheAdminConsoleOfPgbouncerAreItsVersionOnly) {
  facts_.version = "1.18.0/bouncer";
  EXPECT_EQ(steps_of(facts_, agreed_, responder_).size(), 1U);
  EXPECT_NE(step("version").text.find("admin console"), std::string::npos);
}

TEST_F(ServerFactsSteps, FailIfNewPasswordsAreMd5Hashes) {
  facts_.password_encryption = "md5";
  ASSERT_TRUE(step("passwords").finding);
  EXPECT_NE(step("passwords").finding->remedy.find("ALTER SYSTEM"), std::string::npos);
}

TEST_F(ServerFactsSteps, SayWhyAFactIsNotKnown) {
  facts_.rules = tl::unexpected<std::string>("permission denied");
  facts_.clock_lead = tl::unexpected<std::string>("syntax error");
  EXPECT_NE(step("pg_hba").text.find("permission denied"), std::string::npos);
  EXPECT_EQ(step("pg_hba").outcome, Outcome::noted);
  EXPECT_EQ(step("clock").text, "not known: syntax error");
}

TEST_F(ServerFactsSteps, CompareTheClocks) {
  EXPECT_EQ(step("clock").outcome, Outcome::passed);
  facts_.clock_lead = -30;
  EXPECT_EQ(step("clock").outcome, Outcome::noted);
  EXPECT_NE(step("clock").text.find("30 seconds behind"), std::string::npos);
  facts_.clock_lead = 3'600;
  EXPECT_EQ(step("clock").outcome, Outcome::failed);
  EXPECT_NE(step("clock").finding->cause.find("3600 seconds ahead of"), std::string::npos);
}

TEST(TheMajorVersion, IsTheFirstNumber) {
  EXPECT_EQ(major_version_of("15.8 (Debian 15.8-0+deb12u1)"), 15);
  EXPECT_EQ(major_version_of("18beta1"), 18);
  EXPECT_EQ(major_version_of(""), 0);
}

}  // namespace
}  // namespace pgveil::proxy
