// The rules of a listener: what is refused at load, and what is decided about a client.
#include "proxy/access/access_rules.h"

#include <gtest/gtest.h>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

ParsedConfig parsed(const std::string& listener) {
  auto config = parse_config(
      "[[listener]]\nupstream = \"a\"\n" + listener + "\n[upstream.a]\nhost = \"/run/postgresql\"\n",
      "pgveil.toml");
  if (config) return *std::move(config);
  for (const auto& error : config.error()) ADD_FAILURE() << error.text();
  return {};
}

constexpr const char* kTls =
    "address = \"0.0.0.0:5432\"\nssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"\n";
constexpr const char* kTlsWithCa =
    "address = \"0.0.0.0:5432\"\nssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"\nssl_ca_file = "
    "\"/ca\"\n";
constexpr const char* kLoopback = "address = \"127.0.0.1:5432\"\n";
constexpr const char* kUnix = "address = \"unix:/run/.s.PGSQL.5432\"\n";

std::string text_of(const ConfigErrors& errors) {
  std::string text;
  for (const auto& error : errors) text += error.text() + '\n';
  return text;
}

tl::expected<AccessRules, ConfigErrors> built(const std::string& listener, ConfigErrors& warnings) {
  const auto config = parsed(listener);
  std::set<std::string> files;
  return AccessRules::build(config.config.listeners.at(0), "listener[0]", config.locations, warnings, files);
}

AccessRules rules_of(const std::string& listener) {
  ConfigErrors warnings;
  auto rules = built(listener, warnings);
  if (!rules) throw std::runtime_error(text_of(rules.error()));
  return *std::move(rules);
}

KernelAddress address(const std::string& host) {
  return *kernel_address(SocketAddress{.host = host, .port = 40'000, .unix_path = ""});
}

// --- at load ---

struct RefusedRules {
  const char* name;
  std::string listener;
  const char* error;
};
void PrintTo(const RefusedRules& row, std::ostream* out) {
  *out << row.name;
}

class RulesAtLoad : public testing::TestWithParam<RefusedRules> {};

TEST_P(RulesAtLoad, AreRefusedWithLineAndHint) {
  ConfigErrors warnings;
  const auto rules = built(GetParam().listener, warnings);
  ASSERT_FALSE(rules.has_value());
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().error, text_of(rules.error()));
}

std::string with_hba(const char* listener, const std::string& hba) {
  return std::string(listener) + "hba = '''\n" + hba + "\n'''\n";
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Rules, RulesAtLoad,
    testing::Values(
        RefusedRules{"CertWithoutCa", with_hba(kTls, "hostssl all all all cert"), "pgveil.toml:7: listener[0].hba: the record requires a client certificate, but the listener does not ask for one. Set ssl_ca_file"},
        RefusedRules{"ClientcertWithoutCa", with_hba(kTls, "hostssl all all all relay clientcert=verify-ca"), "Set ssl_ca_file"},
        RefusedRules{"TrustFromTheNetwork", with_hba(kTls, "hostssl all all 10.0.0.0/8 trust"), "pgveil.toml:7: listener[0].hba: method trust would allow everyone who can reach this listener to log in"},
        RefusedRules{"TrustOfMoreThanLoopback", with_hba(kTls, "hostssl all all 126.0.0.0/7 trust"), "method trust would allow everyone"},
        RefusedRules{"TrustOfSameHost", with_hba(kTls, "hostssl all all samehost trust"), "method trust would allow everyone"},
        RefusedRules{"MapThatIsNowhere", with_hba(kTlsWithCa, "hostssl all all all cert map=nowhere"), "map \"nowhere\" does not exist"},
        RefusedRules{"MapWithAControlByte", with_hba(kTlsWithCa, "hostssl all all all cert \"map=a\tb\""), "map \"a\\x09b\" does not exist"},
        RefusedRules{"NoRecord", with_hba(kTls, "# nobody"), "pgveil.toml:6: listener[0].hba: no record found; no client could log in"},
        RefusedRules{"SecondLine", with_hba(kTls, "# first\nhostssl all all all nonsense"), "pgveil.toml:8: "},
        RefusedRules{"NoSuchFile", std::string(kTls) + "hba_file = \"/nonexistent/pg_hba.conf\"\n", "pgveil.toml:6: listener[0].hba_file: could not read file \"/nonexistent/pg_hba.conf\": No such file or directory."},
        RefusedRules{"NoSuchIdentFile", std::string(kTls) + "ident_file = \"/nonexistent/pg_ident.conf\"\n", "listener[0].ident_file: could not read"},
        RefusedRules{"BadIdentLine", std::string(kTls) + "ident = '''\nmap name +role\n'''\n", "pgveil.toml:7: listener[0].ident: "}),
    [](const auto& row) { return std::string(row.param.name); });

// The errors of rules that are refused, with what is at fault in "LINE: MESSAGE" in each line.
std::string errors_of(const std::string& listener) {
  ConfigErrors warnings;
  const auto rules = built(listener, warnings);
  if (rules) return "";
  std::string text;
  for (const auto& error : rules.error()) text += std::to_string(error.line) + ": " + error.message + '\n';
  return text;
}

TEST(Rules, ReportAllErrorsIfAQuotationMarkIsNotClosed) {
  constexpr const char* kOpen = "7: the quotation mark in column 13 of the record is not closed\n";
  constexpr const char* kTrust =
      "8: method trust would allow everyone who can reach this listener to log in as any user\n";
  EXPECT_EQ(errors_of(with_hba(kTls, "hostssl all \"all all relay\nhostssl all all all trust")),
            std::string(kOpen) + kTrust);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "8: ",
                      errors_of(with_hba(kTls, "hostssl all \"all all relay\nhostssl all all all nonsense")));
  EXPECT_EQ(errors_of(with_hba(kTls, "hostssl all \"all all relay")), kOpen);  // not also "no record"
}

TEST(Rules, ReportErrorsOfRecordsBesideThoseOfMaps) {
  const std::string hba = with_hba(kTls, "hostssl all all all cert map=m");
  constexpr const char* kNoCa =
      "7: the record requires a client certificate, but the listener does not ask for one\n";
  EXPECT_EQ(errors_of(hba + "ident = 'm app +role'\n"),
            "9: \"+role\" depends on the members of a role, which pgveil does not know\n" + std::string(kNoCa));
  // The map m may be in the line that has an error.
  EXPECT_EQ(errors_of(hba + "ident = 'm \"app app'\n"),
            "9: the quotation mark in column 3 of the record is not closed\n" + std::string(kNoCa));
}

TEST(Rules, NameTheSettingOfTheFileInItsErrors) {
  const test::TemporaryFolder folder;
  const std::string hba = folder.write("hba", "hostssl all all all nonsense\n");
  const std::string trust = folder.write("trust", "hostssl all all all trust\n");
  const std::string empty = folder.write("empty", "");
  const std::string ident = folder.write("ident", "m app +role\n");
  const auto where = [](const std::string& listener) {
    ConfigErrors warnings;
    const auto rules = built(kTls + listener, warnings);
    return rules ? "" : rules.error().at(0).location();
  };
  EXPECT_EQ(where("hba_file = '" + hba + "'\n"), hba + ":1: listener[0].hba_file: ");
  EXPECT_EQ(where("hba_file = '" + trust + "'\n"), trust + ":1: listener[0].hba_file: ");
  EXPECT_EQ(where("hba_file = '" + empty + "'\n"), "pgveil.toml:6: listener[0].hba_file: ");
  EXPECT_EQ(where("ident_file = '" + ident + "'\n"), ident + ":1: listener[0].ident_file: ");
}

struct AcceptedRules {
  const char* name;
  std::string listener;
};
void PrintTo(const AcceptedRules& row, std::ostream* out) { *out << row.name; }

class Trust : public testing::TestWithParam<AcceptedRules> {};

TEST_P(Trust, IsAcceptedWhereTheClientIsLocalOrHasACertificate) {
  ConfigErrors warnings;
  const auto rules = built(GetParam().listener, warnings);
  EXPECT_TRUE(rules.has_value()) << text_of(rules.error());
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Trust,
    testing::Values(
        AcceptedRules{"UnixSocket", with_hba(kUnix, "local all all trust")},
        AcceptedRules{"LoopbackListener", with_hba(kLoopback, "host all all all trust")},
        AcceptedRules{"LoopbackAddress", with_hba(kTls, "host all all 127.0.0.1/32 trust")},
        AcceptedRules{"LoopbackNetwork", with_hba(kTls, "host all all 127.0.0.0/8 trust")},
        AcceptedRules{"Loopback6", with_hba(kTls, "host all all ::1/128 trust")},
        AcceptedRules{"Certificate", with_hba(kTlsWithCa, "hostssl all all 10.0.0.0/8 trust clientcert=verify-ca")}),
    [](const auto& row) { return std::string(row.param.name); });
// clang-format on

TEST(Rules, WarnOfARecordForTlsWhereThereIsNone) {
  ConfigErrors warnings;
  ASSERT_TRUE(built(with_hba(kLoopback, "hostssl all all all relay\nhost all all all relay"), warnings));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].line, 5);
}

struct BuiltIn {
  const char* name;
  std::string listener;
  const char* rules;
};
void PrintTo(const BuiltIn& row, std::ostream* out) {
  *out << row.name;
}
class BuiltInRules : public testing::TestWithParam<BuiltIn> {};

TEST_P(BuiltInRules, FollowFromTheSettingsOfTls) {
  EXPECT_EQ(rules_of(GetParam().listener).built_in(), GetParam().rules);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Rules, BuiltInRules,
    testing::Values(
        BuiltIn{"Plaintext", kLoopback, "host all all all relay\nhost replication all all relay\n"},
        BuiltIn{"UnixSocket", kUnix, "local all all relay\nlocal replication all relay\n"},
        BuiltIn{"Tls", kTls, "hostssl all all all relay\nhostssl replication all all relay\n"},
        BuiltIn{"TlsWithClientCertificates", kTlsWithCa, "hostssl all all all relay clientcert=verify-ca\nhostssl replication all all relay clientcert=verify-ca\n"},
        BuiltIn{"OptionalTls", std::string(kTls) + "tls = \"optional\"\n", "host all all all relay\nhost replication all all relay\n"},
        BuiltIn{"OptionalTlsWithClientCertificates", std::string(kTlsWithCa) + "tls = \"optional\"\n", "hostssl all all all relay clientcert=verify-ca\nhostssl replication all all relay clientcert=verify-ca\n"}),
    [](const auto& row) { return std::string(row.param.name); });
// clang-format on

// --- decisions ---

Decision decide(const AccessRules& rules, const std::string& host, std::string_view user,
                const tls::PeerCertificate* certificate = nullptr, bool has_tls = true) {
  const auto client = address(host);
  return rules.decide({.address = client,
                       .has_tls = has_tls,
                       .certificate = certificate,
                       .unix_user = "",
                       .user = user,
                       .database = "ledger"});
}

tls::PeerCertificate certificate_of(const std::string& common_name) {
  tls::PeerCertificate certificate;
  certificate.subject = "CN=" + common_name;
  certificate.common_names = {common_name};
  certificate.subject_is_text = true;
  return certificate;
}

TEST(Rules, RefuseInPostgresqlsWordsWhatNoneMatches) {
  const auto rules = rules_of(with_hba(kTls, "hostssl other all all relay"));
  const auto decision = decide(rules, "10.1.2.3", "app");
  ASSERT_TRUE(decision.refusal.has_value());
  EXPECT_EQ(decision.refusal->reason, Reason::rejected_by_rule);
  EXPECT_EQ(decision.refusal->message,
            R"(no pg_hba.conf entry for host "10.1.2.3", user "app", database "ledger", SSL encryption)");
  EXPECT_EQ(decide(rules, "::1", "app", nullptr, false).refusal->message,
            R"(no pg_hba.conf entry for host "::1", user "app", database "ledger", no encryption)");
}

TEST(Rules, RefuseInPostgresqlsWordsWhatIsRejected) {
  const auto rules = rules_of(with_hba(kTls, "host all all all reject\nhost replication all all reject"));
  EXPECT_EQ(
      decide(rules, "10.1.2.3", "app").refusal->message,
      R"(pg_hba.conf rejects connection for host "10.1.2.3", user "app", database "ledger", SSL encryption)");
  const auto client = address("10.1.2.3");
  const auto walsender = rules.decide({.address = client,
                                       .has_tls = true,
                                       .certificate = nullptr,
                                       .unix_user = "",
                                       .user = "replicator",
                                       .database = "replicator",
                                       .physical_replication = true});
  EXPECT_EQ(
      walsender.refusal->message,
      R"(pg_hba.conf rejects replication connection for host "10.1.2.3", user "replicator", SSL encryption)");
}

TEST(Rules, AskForACertificateBeforeAnythingElse) {
  const auto rules = rules_of(with_hba(kTlsWithCa, "hostssl all all all cert"));
  EXPECT_EQ(decide(rules, "10.1.2.3", "app").refusal->reason, Reason::client_certificate_required);
}

TEST(Rules, LetTheOneIn_WhoseNameIsTheUsers) {
  const auto rules = rules_of(with_hba(kTlsWithCa, "hostssl all all all cert"));
  const auto app = certificate_of("app");
  EXPECT_FALSE(decide(rules, "10.1.2.3", "app", &app).refusal.has_value());
  EXPECT_EQ(decide(rules, "10.1.2.3", "App", &app).refusal->reason, Reason::identity_not_mapped);
}

TEST(Rules, AssignTheUserOfTheMap) {
  const auto rules =
      rules_of(with_hba(kTlsWithCa, "hostssl all all all cert map=m assign=1") + "ident = 'm app billing'\n");
  const auto app = certificate_of("app");
  const auto decision = decide(rules, "10.1.2.3", "whoever", &app);
  EXPECT_FALSE(decision.refusal.has_value());
  EXPECT_EQ(decision.database_user, "billing");
  EXPECT_EQ(decision.system_user, "app");
  EXPECT_EQ(decision.mapped.line, 10);
  EXPECT_TRUE(rules.may_assign());
}

TEST(Rules, KeepTheUserOfOneWhoIsNotAssigned) {
  const auto rules = rules_of(with_hba(kTls, "hostssl all all all relay"));
  EXPECT_EQ(decide(rules, "10.1.2.3", "app").database_user, "app");
  EXPECT_FALSE(rules.may_assign());
}

TEST(Rules, AskWhoIsAtTheOtherEndOfAUnixSocket) {
  const auto rules = rules_of(with_hba(kUnix, "local all all peer map=m") + "ident = 'm root billing'\n");
  EXPECT_TRUE(rules.asks_for_peer());
  const auto client = *unix_address("/run/x");
  const auto decide_as = [&](std::string_view unix_user) {
    return rules.decide({.address = client,
                         .has_tls = false,
                         .certificate = nullptr,
                         .unix_user = unix_user,
                         .user = "billing",
                         .database = "ledger"});
  };
  EXPECT_FALSE(decide_as("root").refusal.has_value());
  EXPECT_EQ(decide_as("nobody").refusal->message, R"(Peer authentication failed for user "billing")");
  EXPECT_EQ(decide_as("").refusal->reason, Reason::identity_not_mapped);
}

TEST(Rules, AskForTheHostNameOnlyWhereARecordGoesByIt) {
  const auto rules =
      rules_of(with_hba(kTls, "hostssl all app all relay\nhostssl all all .example.com relay"));
  EXPECT_FALSE(decide(rules, "10.1.2.3", "app").needs_host_name);
  EXPECT_TRUE(decide(rules, "10.1.2.3", "other").needs_host_name);
}

}  // namespace
}  // namespace pgveil::proxy
