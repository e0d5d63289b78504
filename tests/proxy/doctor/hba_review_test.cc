#include "proxy/doctor/hba_review.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pgveil::proxy {
namespace {

HbaRule rule(const std::string& type, const std::string& address, const std::string& method) {
  return {.place = "line 7",
          .type = type,
          .databases = "all",
          .users = "all",
          .address = address,
          .netmask = address.empty() ? "" : "255.0.0.0",
          .method = method,
          .options = {},
          .error = {}};
}

std::ptrdiff_t faults(const std::vector<HbaRule>& rules) {
  const auto steps = review_hba(rules);
  return std::ranges::count(steps, Outcome::failed, &Step::outcome);
}

struct Row {
  const char* type;
  const char* address;
  const char* method;
  int faults;
};

class ARecord : public testing::TestWithParam<Row> {};

TEST_P(ARecord, IsAFaultOrNot) {
  const auto& [type, address, method, expected] = GetParam();
  EXPECT_EQ(faults({rule(type, address, method)}), expected);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(PgHba, ARecord, testing::Values(
    Row{"hostssl", "10.0.0.0", "scram-sha-256", 0},
    Row{"host", "10.0.0.0", "scram-sha-256", 1},
    Row{"hostnossl", "10.0.0.0", "scram-sha-256", 1},
    Row{"host", "127.0.0.0", "scram-sha-256", 0},
    Row{"host", "10.0.0.0", "reject", 0},
    Row{"hostssl", "10.0.0.0", "trust", 1},
    Row{"host", "10.0.0.0", "trust", 2},
    Row{"local", "", "trust", 0},
    Row{"hostssl", "10.0.0.0", "password", 1},
    Row{"hostssl", "10.0.0.0", "ldap", 0},
    Row{"hostssl", "10.0.0.0", "md5", 0}));
// clang-format on

TEST(AReviewOfPgHba, PassesIfNothingIsWrong) {
  const auto steps = review_hba({rule("hostssl", "10.0.0.0", "scram-sha-256")});
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps.front().outcome, Outcome::passed);
}

TEST(AReviewOfPgHba, NotesMd5AndPasswordsThatTheServerLearns) {
  for (const char* method : {"md5", "ldap", "pam", "radius"}) {
    const auto steps = review_hba({rule("hostssl", "10.0.0.0", method)});
    ASSERT_EQ(steps.size(), 2U) << method;
    EXPECT_EQ(steps.back().outcome, Outcome::noted);
  }
}

TEST(AReviewOfPgHba, NamesTheLineAndWhatToChange) {
  const auto steps = review_hba({rule("host", "10.0.0.0", "scram-sha-256")});
  ASSERT_TRUE(steps.front().finding);
  EXPECT_EQ(steps.front().finding->side, Side::server);
  EXPECT_EQ(steps.front().finding->remedy,
            "Change host to hostssl in line 7 of the server's pg_hba.conf, and run SELECT pg_reload_conf().");
}

TEST(AReviewOfPgHba, SeesThatAnEarlierRecordRefusesPlaintext) {
  const HbaRule host = rule("host", "10.0.0.0", "scram-sha-256");
  const HbaRule reject = rule("hostnossl", "all", "reject");
  EXPECT_EQ(faults({reject, host}), 0);
  EXPECT_EQ(faults({host, reject}), 1);
  HbaRule of_one_user = reject;
  of_one_user.users = "ann";
  EXPECT_EQ(faults({of_one_user, host}), 1);
  HbaRule of_ipv6 = rule("hostnossl", "::", "reject");
  of_ipv6.netmask = "::";
  EXPECT_EQ(faults({of_ipv6, host}), 1);
}

TEST(AReviewOfPgHba, TrustsACertificate) {
  HbaRule trust = rule("hostssl", "10.0.0.0", "trust");
  trust.options = "clientcert=verify-full";
  EXPECT_EQ(faults({trust}), 0);
}

TEST(AReviewOfPgHba, ReportsARecordThatTheServerCannotUse) {
  HbaRule broken = rule("", "", "");
  broken.error = "invalid authentication method";
  const auto steps = review_hba({broken});
  ASSERT_TRUE(steps.front().finding);
  EXPECT_NE(steps.front().finding->cause.find("invalid authentication method"), std::string::npos);
}

TEST(AReviewOfPgHba, HasTenStepsAtMostWithTheFaultsFirst) {
  std::vector<HbaRule> rules(20, rule("hostssl", "10.0.0.0", "md5"));
  rules.push_back(rule("host", "10.0.0.0", "scram-sha-256"));
  const auto steps = review_hba(rules);
  ASSERT_EQ(steps.size(), 11U);
  EXPECT_EQ(steps.front().outcome, Outcome::failed);
  EXPECT_NE(steps.back().text.find("11 more"), std::string::npos);
}

TEST(AnHbaRule, HasItsFileSincePostgresql16) {
  EXPECT_NE(hba_query(16).find("file_name"), std::string::npos);
  EXPECT_EQ(hba_query(15).find("file_name"), std::string::npos);
  const protocol::Row row{"3",         "host", "all",        "all",        "10.0.0.0",
                          "255.0.0.0", "md5",  std::nullopt, std::nullopt, "/etc/hba.conf"};
  const HbaRule rule = hba_rule(row);
  EXPECT_EQ(rule.place, "line 3 of /etc/hba.conf");
  EXPECT_EQ(rule.netmask, "255.0.0.0");
  EXPECT_TRUE(rule.options.empty());
  EXPECT_TRUE(hba_rule({}).type.empty());
}

}  // namespace
}  // namespace pgveil::proxy
