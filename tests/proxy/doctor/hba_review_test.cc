#include "proxy/doctor/hba_review.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace pgveil::proxy {
namespace {

HbaRule rule(const std::string& type, const std::string& address, const std::string& method,
             const std::string& netmask) {
  return {.line = "7",
          .file = {},
          .type = type,
          .databases = {"all"},
          .users = {"all"},
          .address = address,
          .netmask = netmask,
          .method = method,
          .options = {},
          .error = {}};
}

HbaRule rule(const std::string& type, const std::string& address, const std::string& method) {
  return rule(type, address, method, address.empty() || address == "all" ? "" : "255.0.0.0");
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
  const char* netmask = "255.0.0.0";
};

class ARecord : public testing::TestWithParam<Row> {};

TEST_P(ARecord, IsAFaultOrNot) {
  const auto& [type, address, method, expected, netmask] = GetParam();
  EXPECT_EQ(faults({rule(type, address, method, netmask)}), expected);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(PgHba, ARecord, testing::Values(
    Row{"hostssl", "10.0.0.0", "scram-sha-256", 0},
    Row{"host", "10.0.0.0", "scram-sha-256", 1},
    Row{"hostnossl", "10.0.0.0", "scram-sha-256", 1},
    Row{"hostnogssenc", "10.0.0.0", "scram-sha-256", 1},
    Row{"host", "127.0.0.0", "scram-sha-256", 0},
    Row{"host", "127.0.0.1", "scram-sha-256", 0, "255.255.255.255"},
    Row{"host", "127.0.0.1", "scram-sha-256", 1, "0.0.0.0"},
    Row{"host", "127.0.0.1", "scram-sha-256", 1, "254.0.0.0"},
    Row{"host", "127.example.com", "scram-sha-256", 1, ""},
    Row{"host", "::1", "scram-sha-256", 0, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    Row{"host", "::1", "scram-sha-256", 1, "::"},
    Row{"host", "samehost", "scram-sha-256", 0, ""},
    Row{"host", "localhost", "scram-sha-256", 0, ""},
    Row{"host", "samenet", "scram-sha-256", 1, ""},
    Row{"host", "all", "scram-sha-256", 1, ""},
    Row{"host", "10.0.0.0", "reject", 0},
    Row{"hostssl", "10.0.0.0", "trust", 1},
    Row{"host", "10.0.0.0", "trust", 2},
    Row{"local", "", "trust", 0, ""},
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

TEST(AReviewOfPgHba, NamesTheFileSincePostgresql16) {
  HbaRule host = rule("host", "10.0.0.0", "scram-sha-256");
  host.file = "/etc/postgresql/16/main/pg_hba.conf";
  const auto steps = review_hba({host});
  EXPECT_TRUE(steps.front().text.starts_with("line 7 of /etc/postgresql/16/main/pg_hba.conf: host "));
  EXPECT_EQ(steps.front().finding->cause,
            "The record in line 7 of /etc/postgresql/16/main/pg_hba.conf has the type host, so it admits "
            "logins without TLS.");
  EXPECT_EQ(steps.front().finding->remedy,
            "Change host to hostssl in line 7 of /etc/postgresql/16/main/pg_hba.conf, and run SELECT "
            "pg_reload_conf().");
}

TEST(AReviewOfPgHba, CountsTheRecords) {
  const HbaRule good = rule("hostssl", "10.0.0.0", "scram-sha-256");
  EXPECT_TRUE(review_hba({good}).front().text.starts_with("1 record; "));
  EXPECT_TRUE(review_hba({good, good}).front().text.starts_with("2 records; "));
}

TEST(AReviewOfPgHba, SeesThatAnEarlierRecordRefusesPlaintext) {
  const HbaRule host = rule("host", "10.0.0.0", "scram-sha-256");
  const HbaRule reject = rule("hostnossl", "all", "reject");
  EXPECT_EQ(faults({reject, host}), 0);
  EXPECT_EQ(faults({host, reject}), 1);
  HbaRule of_one_user = reject;
  of_one_user.users = {"ann"};
  EXPECT_EQ(faults({of_one_user, host}), 1);
  HbaRule of_ipv6 = rule("hostnossl", "::", "reject");
  of_ipv6.netmask = "::";
  EXPECT_EQ(faults({of_ipv6, host}), 1);
}

TEST(AReviewOfPgHba, FindsNoFaultInARecordThatNobodyReaches) {
  const HbaRule trust = rule("hostnossl", "10.0.0.0", "trust");
  EXPECT_EQ(faults({trust}), 2);
  EXPECT_EQ(faults({rule("hostnossl", "all", "reject"), trust}), 0);
  EXPECT_EQ(faults({rule("hostnogssenc", "all", "reject"), trust}), 1);  // with GSSAPI encryption
  EXPECT_EQ(faults({rule("host", "all", "reject"), rule("hostssl", "10.0.0.0", "trust")}), 0);
  EXPECT_EQ(faults({rule("hostnossl", "all", "reject"), rule("hostssl", "10.0.0.0", "trust")}), 1);
  const HbaRule any = rule("hostnogssenc", "10.0.0.0", "scram-sha-256");
  EXPECT_EQ(faults({rule("hostnogssenc", "all", "reject"), any}), 0);
  EXPECT_EQ(faults({rule("hostgssenc", "all", "reject"), any}), 1);
}

// A server decides how many words a record has.
TEST(AReviewOfPgHba, DoesNotCompareWithoutALimit) {
  const auto faults_of = [](int count) {
    HbaRule host = rule("host", "all", "scram-sha-256", "");
    host.databases.clear();
    host.users.clear();
    for (int i = 0; i < count; ++i) {
      host.databases.push_back("database" + std::to_string(i));
      host.users.push_back("user" + std::to_string(i));
    }
    return faults({rule("hostnossl", "all", "reject"), host});
  };
  EXPECT_EQ(faults_of(100), 0);
  EXPECT_EQ(faults_of(1'000), 1);  // not certain
}

// Splits "app,ledger".
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) words.push_back(word);
  return words;
}

HbaRule for_databases(HbaRule rule, const std::string& databases) {
  rule.databases = words_of(databases);
  return rule;
}

TEST(AReviewOfPgHba, KnowsThatAllDatabasesAreNotReplication) {
  const HbaRule reject = rule("hostnossl", "all", "reject");
  const HbaRule host = rule("host", "10.0.0.0", "scram-sha-256");
  for (const char* databases : {"replication", "app,replication", "replication,all"})
    EXPECT_EQ(faults({reject, for_databases(host, databases)}), 1) << databases;
  for (const char* databases : {"app", "app,replication_log"})
    EXPECT_EQ(faults({reject, for_databases(host, databases)}), 0) << databases;
  for (const char* databases : {"all,replication", "replication,all", "replication"})
    EXPECT_EQ(faults({for_databases(reject, databases), for_databases(host, "replication")}), 0) << databases;
  EXPECT_EQ(faults({for_databases(reject, "replication"), host}), 1);
}

TEST(AReviewOfPgHba, KnowsThatARejectForIpv4LeavesIpv6Open) {
  const HbaRule ipv4 = rule("hostnossl", "0.0.0.0", "reject", "0.0.0.0");
  const HbaRule ipv6 = rule("hostnossl", "::", "reject", "::");
  for (const char* address : {"all", "db02.example.com", ".example.com", "samenet"}) {
    const HbaRule host = rule("host", address, "scram-sha-256", "");
    EXPECT_EQ(faults({ipv4, host}), 1) << address;
    EXPECT_EQ(faults({ipv6, host}), 1) << address;
    EXPECT_EQ(faults({ipv4, ipv6, host}), 0) << address;
    EXPECT_EQ(faults({rule("hostnossl", "all", "reject"), host}), 0) << address;
  }
  EXPECT_EQ(faults({ipv4, rule("host", "10.0.0.0", "scram-sha-256")}), 0);
  EXPECT_EQ(faults({ipv4, rule("host", "2001:db8::", "scram-sha-256", "ffff:ffff::")}), 1);
  EXPECT_EQ(faults({ipv6, rule("host", "2001:db8::", "scram-sha-256", "ffff:ffff::")}), 0);
}

struct Networks {
  const char* refused;
  const char* refused_mask;
  const char* admitted;
  const char* admitted_mask;
  int faults;
};

class ARefusedNetwork : public testing::TestWithParam<Networks> {};

TEST_P(ARefusedNetwork, CountsForLaterRecordsInIt) {
  const auto& [refused, refused_mask, admitted, admitted_mask, expected] = GetParam();
  EXPECT_EQ(faults({rule("hostnossl", refused, "reject", refused_mask),
                    rule("host", admitted, "scram-sha-256", admitted_mask)}),
            expected);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(PgHba, ARefusedNetwork, testing::Values(
    Networks{"10.0.0.0", "255.0.0.0", "10.1.0.0", "255.255.0.0", 0},
    Networks{"10.0.0.0", "255.0.0.0", "10.1.2.3", "255.255.255.255", 0},
    Networks{"10.5.6.7", "255.0.0.0", "10.1.0.0", "255.255.0.0", 0},
    Networks{"10.1.0.0", "255.255.0.0", "10.0.0.0", "255.0.0.0", 1},
    Networks{"10.0.0.0", "255.0.0.0", "11.1.0.0", "255.255.0.0", 1},
    Networks{"10.0.0.0", "255.128.0.0", "10.128.0.0", "255.128.0.0", 1},
    Networks{"10.0.0.0", "255.0.0.0", "10.1.0.0", "0.255.0.0", 1},
    // PostgreSQL also takes a mask that is not a prefix.
    Networks{"10.0.0.0", "255.0.255.0", "10.1.0.0", "255.255.255.0", 0},
    Networks{"10.0.0.0", "255.0.255.0", "10.1.1.0", "255.255.255.0", 1},
    Networks{"10.0.0.0", "255.0.255.0", "10.1.0.0", "255.255.0.0", 1},
    Networks{"2001:db8::", "ffff:ffff::", "2001:db8:1::", "ffff:ffff:ffff::", 0},
    Networks{"2001:db8:0::", "ffff:ffff::", "2001:DB8::7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0},
    Networks{"2001:db8:1::", "ffff:ffff:ffff::", "2001:db8::", "ffff:ffff::", 1},
    Networks{"2001:db9::", "ffff:ffff::", "2001:db8:1::", "ffff:ffff:ffff::", 1},
    Networks{"::ffff:10.0.0.0", "ffff:ffff:ffff:ffff:ffff:ffff:ff00::", "10.1.0.0", "255.255.0.0", 1},
    Networks{"10.0.0.0", "ff00::", "10.1.0.0", "255.255.0.0", 1},
    Networks{"10.0.0", "255.0.0.0", "10.1.0.0", "255.255.0.0", 1},
    Networks{"samenet", "", "10.1.0.0", "255.255.0.0", 1},
    Networks{"samenet", "", "samenet", "", 0},
    Networks{"10.0.0.0", "255.0.0.0", "samenet", "", 1},
    Networks{"10.0.0.0", "255.0.0.0", "all", "", 1},
    Networks{"db02.example.com", "", "db02.example.com", "", 0},
    Networks{"db02.example.com", "", "10.1.0.0", "255.255.0.0", 1}));
// clang-format on

HbaRule for_users(HbaRule rule, const std::string& users) {
  rule.users = words_of(users);
  return rule;
}

TEST(AReviewOfPgHba, SeesThatTheSameUsersAreRefused) {
  const HbaRule reject = rule("hostnossl", "all", "reject");
  const HbaRule host = rule("host", "10.0.0.0", "scram-sha-256");
  for (const char* users : {"ann", "ann,bob", "bob,ann", "all", "ann,all"})
    EXPECT_EQ(faults({for_users(reject, users), for_users(host, "ann")}), 0) << users;
  for (const char* users : {"bob", "+ann", "annabel", "/ann"})
    EXPECT_EQ(faults({for_users(reject, users), for_users(host, "ann")}), 1) << users;
  EXPECT_EQ(faults({for_users(reject, "+staff"), for_users(host, "+staff")}), 0);
  EXPECT_EQ(faults({for_users(reject, "ann"), for_users(host, "ann,bob")}), 1);
  EXPECT_EQ(faults({for_users(reject, "ann"), for_users(reject, "bob"), for_users(host, "ann,bob")}), 0);
}

TEST(AReviewOfPgHba, CountsEarlierRecordsTogether) {
  const HbaRule reject = rule("hostnossl", "all", "reject");
  const HbaRule host = rule("host", "all", "scram-sha-256");
  const auto both = for_databases(host, "all,replication");
  EXPECT_EQ(faults({reject, for_databases(reject, "replication"), both}), 0);
  EXPECT_EQ(faults({for_databases(reject, "replication"), reject, both}), 0);
  EXPECT_EQ(faults({for_databases(reject, "replication"), both}), 1);
  const auto two = for_databases(host, "app,ledger");
  EXPECT_EQ(faults({for_databases(reject, "app"), for_databases(reject, "ledger"), two}), 0);
  EXPECT_EQ(faults({for_databases(reject, "app"), two}), 1);
  EXPECT_EQ(faults({for_databases(reject, "app"), host}), 1);
  EXPECT_EQ(faults({for_databases(reject, "app,sameuser"), for_databases(host, "sameuser")}), 0);
  // Each database for one user only: the other user of each is admitted.
  EXPECT_EQ(faults({for_users(for_databases(reject, "app"), "ann"),
                    for_users(for_databases(reject, "ledger"), "bob"), for_users(two, "ann,bob")}),
            1);
  // Each database for one family only.
  EXPECT_EQ(faults({for_databases(rule("hostnossl", "0.0.0.0", "reject", "0.0.0.0"), "app"),
                    for_databases(rule("hostnossl", "::", "reject", "::"), "ledger"), two}),
            1);
}

TEST(AReviewOfPgHba, TellsANameWithACommaFromTwoNames) {
  HbaRule reject = rule("hostnossl", "all", "reject");
  reject.databases = {"app,ledger"};
  EXPECT_EQ(faults({reject, for_databases(rule("host", "all", "scram-sha-256"), "app,ledger")}), 1);
}

TEST(AReviewOfPgHba, DoesNotTakeARecordWithoutDatabasesOrUsersForRefused) {
  const HbaRule reject = rule("hostnossl", "all", "reject");
  const HbaRule host = rule("host", "all", "scram-sha-256");
  EXPECT_EQ(faults({reject, for_databases(host, "")}), 1);
  EXPECT_EQ(faults({reject, for_users(host, "")}), 1);
}

TEST(AReviewOfPgHba, DoesNotCountARejectThatTheServerCannotUse) {
  HbaRule reject = rule("hostnossl", "all", "reject");
  reject.error = "invalid";
  EXPECT_EQ(faults({reject, rule("host", "10.0.0.0", "scram-sha-256")}), 2);
}

TEST(AReviewOfPgHba, TrustsACertificateWhoseNameIsCompared) {
  HbaRule trust = rule("hostssl", "10.0.0.0", "trust");
  trust.options = {"clientcert=verify-full"};
  EXPECT_EQ(faults({trust}), 0);
  trust.options = {"clientname=DN", "clientcert=verify-full"};
  EXPECT_EQ(faults({trust}), 0);
}

TEST(AReviewOfPgHba, DoesNotTrustACertificateOfWhicheverName) {
  HbaRule trust = rule("hostssl", "10.0.0.0", "trust");
  trust.options = {"clientcert=verify-ca"};
  const auto steps = review_hba({trust});
  ASSERT_EQ(steps.size(), 1U);
  ASSERT_TRUE(steps.front().finding);
  EXPECT_EQ(
      steps.front().finding->cause,
      "The record in line 7 of the server's pg_hba.conf has the option clientcert=verify-ca, so everybody "
      "who has a certificate of the CA can log in as any user.");
  EXPECT_EQ(
      steps.front().finding->remedy,
      "Change clientcert=verify-ca to clientcert=verify-full in line 7 of the server's pg_hba.conf, and run "
      "SELECT pg_reload_conf().");
  trust.method = "scram-sha-256";
  EXPECT_EQ(faults({trust}), 0);
  trust.method = "cert";
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
  const protocol::Row row{"3",         "host", "app\na,b",   "all",        "10.0.0.0",
                          "255.0.0.0", "md5",  std::nullopt, std::nullopt, "/etc/hba.conf"};
  const HbaRule rule = hba_rule(row);
  EXPECT_EQ(rule.line, "3");
  EXPECT_EQ(rule.file, "/etc/hba.conf");
  EXPECT_EQ(rule.netmask, "255.0.0.0");
  EXPECT_EQ(rule.databases, (std::vector<std::string>{"app", "a,b"}));
  EXPECT_TRUE(rule.options.empty());
  EXPECT_TRUE(hba_rule({}).type.empty());
}

}  // namespace
}  // namespace pgveil::proxy
