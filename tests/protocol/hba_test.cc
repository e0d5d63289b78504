#include "protocol/hba.h"

#include <gtest/gtest.h>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::FakeAuthFiles;
using test::shown;

tl::expected<HbaRules, AuthFileErrors> parsed(std::string_view text) {
  AuthFileErrors errors;
  const auto lines = split_auth_file(text, "hba", 1, FakeAuthFiles(), errors);
  if (!errors.empty()) return tl::unexpected(errors);
  return HbaRules::parse(lines);
}

HbaRules rules_of(std::string_view text) {
  auto rules = parsed(text);
  if (rules) return std::move(*rules);
  ADD_FAILURE() << shown(rules.error());
  return rules_of("local all all reject");
}

IpAddress address_of(std::string_view text) {
  const auto address = parse_ip_address(text);
  if (!address) ADD_FAILURE() << text << " is no address";
  return address.value_or(IpAddress{});
}

// Returns a client: user ann, database ledger, from 10.1.2.3 over TLS.
HbaClient client() {
  return {.is_unix = false,
          .has_tls = true,
          .address = address_of("10.1.2.3"),
          .user = "ann",
          .database = "ledger",
          .physical_replication = false,
          .host_name = ""};
}
HbaClient plaintext_client() {
  auto without_tls = client();
  without_tls.has_tls = false;
  return without_tls;
}
HbaClient unix_client() {
  auto at_socket = plaintext_client();
  at_socket.is_unix = true;
  at_socket.address = {};
  return at_socket;
}
HbaClient client_from(std::string_view address) {
  auto from_there = client();
  from_there.address = address_of(address);
  return from_there;
}
HbaClient client_named(std::optional<std::string> host_name) {
  auto with_name = client();
  with_name.host_name = std::move(host_name);
  return with_name;
}
HbaClient client_of(std::string_view user, std::string_view database) {
  auto other = client();
  other.user = user;
  other.database = database;
  return other;
}
HbaClient replica(std::string_view user) {
  auto walsender = client_of(user, user);  // as StartupMessage::database() returns it
  walsender.physical_replication = true;
  return walsender;
}

const std::vector<LocalNetwork> kNetworks{
    {*parse_ip_address("127.0.0.1"), *parse_ip_address("255.0.0.0")},
    {*parse_ip_address("10.1.9.9"), *parse_ip_address("255.255.0.0")},
    {*parse_ip_address("fd00::9"), *parse_ip_address("ffff:ffff:ffff:ffff::")}};

// Returns the line of the first rule that matches; 0: none.
int deciding_line(const HbaRules& rules, const HbaClient& client) {
  const auto verdict = rules.match(client, kNetworks);
  EXPECT_FALSE(verdict.needs_host_name);
  return verdict.rule == nullptr ? 0 : verdict.rule->line;
}
bool matches(std::string_view record, const HbaClient& client) {
  return deciding_line(rules_of(record), client) == 1;
}

struct OfType {
  const char* type;
  bool over_unix_socket;
  bool over_plaintext;
  bool over_tls;
};

class HbaRecordType : public testing::TestWithParam<OfType> {};

TEST_P(HbaRecordType, MatchesItsKindsOfConnection) {
  const bool is_local = std::string_view(GetParam().type) == "local";
  const std::string record = std::string(GetParam().type) + " all all " + (is_local ? "" : "all ") + "relay";
  EXPECT_EQ(matches(record, unix_client()), GetParam().over_unix_socket);
  EXPECT_EQ(matches(record, plaintext_client()), GetParam().over_plaintext);
  EXPECT_EQ(matches(record, client()), GetParam().over_tls);
}

INSTANTIATE_TEST_SUITE_P(
    Hba, HbaRecordType,
    testing::Values(OfType{"local", true, false, false}, OfType{"host", false, true, true},
                    OfType{"hostssl", false, false, true}, OfType{"hostnossl", false, true, false},
                    OfType{"hostgssenc", false, false, false}, OfType{"hostnogssenc", false, true, true},
                    OfType{"\"host\"", false, true, true}),
    [](const auto& row) { return std::string(row.param.type[0] == '"' ? "quoted" : row.param.type); });

struct Matched {
  const char* name;
  std::string_view record;
  HbaClient client;
  bool matches;
};

class HbaMatch : public testing::TestWithParam<Matched> {};

TEST_P(HbaMatch, IsThatOfPostgresql) {
  EXPECT_EQ(matches(GetParam().record, GetParam().client), GetParam().matches);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Database, HbaMatch,
    testing::Values(
        Matched{"Name", "host ledger all all relay", client(), true},
        Matched{"OtherName", "host stock all all relay", client(), false},
        Matched{"NameInAnotherCase", "host Ledger all all relay", client(), false},
        Matched{"StartOfTheName", "host ledge all all relay", client(), false},
        Matched{"NameInAList", "host stock,ledger all all relay", client(), true},
        Matched{"AllInAList", "host stock,all all all relay", client(), true},
        Matched{"AllQuotedIsAName", "host \"all\" all all relay", client(), false},
        Matched{"AllQuotedIsThatName", "host \"all\" all all relay", client_of("ann", "all"), true},
        Matched{"SameUser", "host sameuser all all relay", client_of("ann", "ann"), true},
        Matched{"SameUserWhoIsAnother", "host sameuser all all relay", client(), false},
        Matched{"SameUserQuotedIsAName", "host \"sameuser\" all all relay", client_of("ann", "ann"), false},
        Matched{"SameRoleQuotedIsAName", "host \"samerole\" all all relay", client_of("ann", "samerole"), true},
        Matched{"PlusIsAName", "host +ann all all relay", client_of("ann", "+ann"), true},
        Matched{"Expression", "host /^led all all relay", client(), true},
        Matched{"ExpressionAnywhere", "host /dge all all relay", client(), true},
        Matched{"ExpressionThatIsNotIn", "host /^dge all all relay", client(), false},
        Matched{"ExpressionInAnotherCase", "host /LED all all relay", client(), false},
        Matched{"ExpressionQuoted", "host \"/^led\" all all relay", client(), true},
        Matched{"ExpressionOfWhichANewlineIsNoEnd", "host /^led$ all all relay", client_of("ann", "led\nger"), false},
        Matched{"ExpressionWhoseDotTakesANewline", "host /^l.r$ all all reject", client_of("ann", "l\nr"), true},
        Matched{"ExpressionOnBytesThatAreNotUtf8", "host /^l.r$ all all reject", client_of("ann", "l\xffr"), true},
        Matched{"PhysicalReplication", "host replication all all relay", replica("ann"), true},
        Matched{"PhysicalReplicationInAList", "host ledger,replication all all relay", replica("ann"), true},
        Matched{"PhysicalReplicationIsNotAmongAll", "host all all all relay", replica("ann"), false},
        Matched{"PhysicalReplicationIsNoSameUser", "host sameuser all all relay", replica("ann"), false},
        Matched{"PhysicalReplicationHasNoName", "host ann all all relay", replica("ann"), false},
        Matched{"PhysicalReplicationIsInNoExpression", "host /. all all relay", replica("ann"), false},
        Matched{"PhysicalReplicationQuotedIsAName", "host \"replication\" all all relay", replica("replication"), false},
        Matched{"ReplicationIsNoOrdinaryDatabase", "host replication all all relay", client_of("ann", "replication"), false},
        Matched{"ReplicationQuotedIsOne", "host \"replication\" all all relay", client_of("ann", "replication"), true}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    User, HbaMatch,
    testing::Values(
        Matched{"Name", "host all ann all relay", client(), true},
        Matched{"OtherName", "host all bob all relay", client(), false},
        Matched{"NameInAList", "host all bob,ann all relay", client(), true},
        Matched{"NameInAnotherCase", "host all Ann all relay", client(), false},
        Matched{"AllQuotedIsAName", "host all \"all\" all relay", client(), false},
        Matched{"PlusQuotedIsAName", "host all \"+ann\" all relay", client_of("+ann", "x"), true},
        Matched{"PlusQuotedIsNoRole", "host all \"+ann\" all relay", client(), false},
        Matched{"Expression", "host all /^a[n]+$ all relay", client(), true},
        Matched{"ExpressionThatIsNotIn", "host all /^b all relay", client(), false},
        Matched{"ExpressionWithACommaQuoted", "host all \"/^a[n]{1,3}$\" all relay", client(), true},
        Matched{"ExpressionAndAQuotedNameWithItsCharacters", "host all /^b,\"ann\" all relay", client(), true},
        Matched{"ExpressionsWithACommaBetween", "host all /^b,/^a all relay", client(), true},
        Matched{"DatabaseMustMatch", "host stock ann all relay", client(), false},
        Matched{"KeywordsOfDatabasesAreNames", "host all replication all relay", client_of("replication", "x"), true}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Address, HbaMatch,
    testing::Values(
        Matched{"Network", "host all all 10.0.0.0/8 relay", client(), true},
        Matched{"OtherNetwork", "host all all 11.0.0.0/8 relay", client(), false},
        Matched{"BitsBehindTheMaskAreIgnored", "host all all 10.9.9.9/8 relay", client(), true},
        Matched{"BitsThatFillNoByte", "host all all 10.1.0.0/14 relay", client_from("10.3.255.255"), true},
        Matched{"BitsThatFillNoByteAndTheNext", "host all all 10.1.0.0/14 relay", client_from("10.4.0.0"), false},
        Matched{"NoBits", "host all all 0.0.0.0/0 relay", client(), true},
        Matched{"AllBits", "host all all 10.1.2.3/32 relay", client(), true},
        Matched{"AllBitsOfAnother", "host all all 10.1.2.2/32 relay", client(), false},
        Matched{"NoBitsOfIpv4AreNoIpv6", "host all all 0.0.0.0/0 relay", client_from("fd00::1"), false},
        Matched{"NoBitsOfIpv4AreNoMappedAddress", "host all all 0.0.0.0/0 relay", client_from("::ffff:10.1.2.3"), false},
        Matched{"NoBitsOfIpv6AreNoIpv4", "host all all ::/0 relay", client(), false},
        Matched{"NoBitsOfIpv6AreAMappedAddress", "host all all ::/0 relay", client_from("::ffff:10.1.2.3"), true},
        Matched{"NetworkOfIpv6", "host all all fd00::/8 relay", client_from("fdff::1"), true},
        Matched{"OtherNetworkOfIpv6", "host all all fd00::/64 relay", client_from("fd00:0:0:1::1"), false},
        Matched{"Netmask", "host all all 10.1.0.0 255.255.0.0 relay", client(), true},
        Matched{"NetmaskOfAnother", "host all all 10.2.0.0 255.255.0.0 relay", client(), false},
        Matched{"NetmaskWithGaps", "host all all 10.0.2.0 255.0.255.0 relay", client(), true},
        Matched{"NetmaskOfIpv6", "host all all fd00::1 ffff:: relay", client_from("fd00::2"), true},
        Matched{"AllOfIpv6", "host all all all relay", client_from("fd00::1"), true},
        Matched{"SameHost", "host all all samehost relay", client_from("10.1.9.9"), true},
        Matched{"SameHostIsNotItsNetwork", "host all all samehost relay", client(), false},
        Matched{"SameNet", "host all all samenet relay", client(), true},
        Matched{"SameNetOfIpv6", "host all all samenet relay", client_from("fd00::1"), true},
        Matched{"SameNetIsNoOther", "host all all samenet relay", client_from("10.2.2.3"), false},
        Matched{"HostName", "host all all App.Example relay", client_named("app.eXample"), true},
        Matched{"OtherHostName", "host all all app.example relay", client_named("app.example.com"), false},
        Matched{"HostNameOfAClientWithoutOne", "host all all app.example relay", client_named(""), false},
        Matched{"Suffix", "host all all .example relay", client_named("app.EXAMPLE"), true},
        Matched{"SuffixOfSeveralLabels", "host all all .prod.example relay", client_named("a.b.prod.example"), true},
        Matched{"SuffixIsNotTheNameItself", "host all all .example relay", client_named("example"), false},
        Matched{"SuffixEndsAtADot", "host all all .example relay", client_named("notexample"), false},
        Matched{"AllQuotedIsAHostName", "host all all \"all\" relay", client_named("all"), true},
        Matched{"AllQuotedIsNotEveryAddress", "host all all \"all\" relay", client(), false},
        Matched{"SameNetQuotedIsAHostName", "host all all \"samenet\" relay", client(), false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(HbaRules, TakeTheFirstThatMatchesAndNoOtherAfterIt) {
  const auto rules = rules_of(
      "hostssl ledger bob all cert\n"
      "hostssl ledger all 10.1.0.0/16 reject\n"
      "hostssl ledger ann all trust\n");
  EXPECT_EQ(deciding_line(rules, client()), 2);
  EXPECT_EQ(deciding_line(rules, client_from("10.2.0.1")), 3);
  EXPECT_EQ(deciding_line(rules, client_of("bob", "ledger")), 1);
  EXPECT_EQ(deciding_line(rules, client_of("ann", "stock")), 0);
}

TEST(HbaRules, AskForTheHostNameOnceItMayDecide) {
  const auto rules = rules_of(
      "hostssl stock all .example reject\n"
      "hostssl all bob .example reject\n"
      "hostnossl all all .example reject\n"
      "hostssl all all 10.9.0.0/16 reject\n"
      "hostssl all all .example cert\n"
      "hostssl all all all relay\n");
  const auto unknown = rules.match(client_named(std::nullopt), kNetworks);
  EXPECT_TRUE(unknown.needs_host_name);
  EXPECT_EQ(unknown.rule, nullptr);
  EXPECT_EQ(deciding_line(rules, client_named("app.example")), 5);
  EXPECT_EQ(deciding_line(rules, client_named("")), 6);
}

TEST(HbaRules, DoNotAskForAHostNameBehindTheRuleThatDecides) {
  const auto rules = rules_of("host all all all relay\nhost all all .example reject\n");
  EXPECT_EQ(deciding_line(rules, client_named(std::nullopt)), 1);
}

struct MayAdmitCase {
  std::string_view rules;
  bool expected;  // for any client with TLS from 10.1.2.3
};
void PrintTo(const MayAdmitCase& row, std::ostream* out) {
  *out << row.rules;
}
class HbaMayAdmit : public ::testing::TestWithParam<MayAdmitCase> {};

TEST_P(HbaMayAdmit, SomeClientThatConnectsLikeThis) {
  EXPECT_EQ(rules_of(GetParam().rules).may_admit(client(), {}), GetParam().expected);
}

// A rule for one user may admit any client that claims to be that user. A reject rule counts only if it
// rejects all clients.
INSTANTIATE_TEST_SUITE_P(
    All, HbaMayAdmit,
    ::testing::Values(MayAdmitCase{"hostssl all all 10.0.0.0/8 relay", true},
                      MayAdmitCase{"hostssl other bob 10.0.0.0/8 relay", true},
                      MayAdmitCase{"host all all all relay", true},
                      MayAdmitCase{"hostssl all all 192.168.0.0/16 relay", false},
                      MayAdmitCase{"hostnossl all all all relay", false},
                      MayAdmitCase{"local all all relay", false},
                      MayAdmitCase{"hostssl all all all reject", false},
                      MayAdmitCase{"hostssl all all all reject\nhostssl all all all relay", false},
                      MayAdmitCase{"hostssl all ann all reject\nhostssl all all all relay", true},
                      MayAdmitCase{"hostssl ledger all all reject\nhostssl all all all relay", true},
                      MayAdmitCase{"hostssl all all 10.1.0.0/16 reject\nhostssl all all all relay", false},
                      MayAdmitCase{"hostssl all all 10.2.0.0/16 reject\nhostssl all all all relay", true},
                      MayAdmitCase{"hostssl all all all reject\nhostssl replication all all relay", true},
                      MayAdmitCase{
                          "hostssl all,replication all all reject\nhostssl replication all all relay", false},
                      MayAdmitCase{"hostssl all all .example.com reject\nhostssl all all all relay", true},
                      MayAdmitCase{"hostssl all all .example.com relay", true}));

TEST(HbaRules, KnowWhetherTheyUseLocalNetworks) {
  EXPECT_FALSE(rules_of("host all all all relay\nlocal all all peer").uses_local_networks());
  EXPECT_FALSE(rules_of("host all all \"samenet\" relay").uses_local_networks());
  EXPECT_TRUE(rules_of("host all all all relay\nhost all all samehost relay").uses_local_networks());
  EXPECT_TRUE(rules_of("host all all samenet relay").uses_local_networks());
}

TEST(HbaRules, SayWhyARecordDoesNotMatch) {
  const auto rules = rules_of(
      "local all all relay\n"
      "hostnossl all all all relay\n"
      "host other all all relay\n"
      "host all bob all relay\n"
      "host all all 192.0.2.0/24 relay\n"
      "host all all app.example.com relay\n"
      "host all all all reject\n"
      "host all all all relay");
  const auto mismatches = [&](const HbaClient& client) {
    std::vector<HbaMismatch> found;
    for (const auto& compared : rules.compare(client, {})) found.push_back(compared.mismatch);
    return found;
  };
  using enum HbaMismatch;
  EXPECT_EQ(mismatches(client_named("other.example.com")),
            (std::vector{type, type, database, user, address, address, none}));
  EXPECT_EQ(mismatches(client_named(std::nullopt)),
            (std::vector{type, type, database, user, address, host_name_unknown}));
  EXPECT_EQ(mismatches(unix_client()), (std::vector{none}));
}

TEST(HbaRules, AreListedInTheirOrderWithTheirPlaces) {
  const auto parsed_rules =
      rules_of("# one\nhostssl all all all cert map=\"my map\" assign=1\nlocal all all peer");
  const auto rules = parsed_rules.rules();
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0]->file, "hba");
  EXPECT_EQ(rules[0]->line, 2);
  EXPECT_EQ(rules[0]->map, "my map");
  EXPECT_TRUE(rules[0]->assign);
  EXPECT_EQ(rules[1]->line, 3);
}

TEST(HbaRules, StayWhereTheyAreWhenTheyMove) {
  auto rules = rules_of("host all all all relay");
  const HbaRule* rule = rules.match(client(), {}).rule;
  const auto moved = std::move(rules);
  EXPECT_EQ(moved.match(client(), {}).rule, rule);
}

struct Asked {
  const char* name;
  std::string_view record;
  HbaMethod method;
  ClientCertificate clientcert = ClientCertificate::not_required;
  CertificateName clientname = CertificateName::common_name;
  const char* map = "";
  bool assign = false;
};

class HbaRuleOf : public testing::TestWithParam<Asked> {};

TEST_P(HbaRuleOf, AsksWhatItsRecordSays) {
  const auto parsed_rules = rules_of(GetParam().record);
  const HbaRule& rule = *parsed_rules.rules().front();
  EXPECT_EQ(rule.method, GetParam().method);
  EXPECT_EQ(rule.clientcert, GetParam().clientcert);
  EXPECT_EQ(rule.clientname, GetParam().clientname);
  EXPECT_EQ(rule.map, GetParam().map);
  EXPECT_EQ(rule.assign, GetParam().assign);
}

constexpr auto kNotRequired = ClientCertificate::not_required;
constexpr auto kVerifyCa = ClientCertificate::verify_ca;
constexpr auto kVerifyFull = ClientCertificate::verify_full;
constexpr auto kCn = CertificateName::common_name;

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Hba, HbaRuleOf,
    testing::Values(
        Asked{"Reject", "host all all all reject", HbaMethod::reject},
        Asked{"Relay", "host all all all relay", HbaMethod::relay},
        Asked{"Trust", "host all all all trust", HbaMethod::trust},
        Asked{"MethodInQuotes", "host all all all \"trust\"", HbaMethod::trust},
        Asked{"CertImpliesVerifyFull", "hostssl all all all cert", HbaMethod::cert, kVerifyFull},
        Asked{"CertAndVerifyFull", "hostssl all all all cert clientcert=verify-full", HbaMethod::cert, kVerifyFull},
        Asked{"Peer", "local all all peer", HbaMethod::peer},
        Asked{"PeerWithMap", "local all all peer map=m", HbaMethod::peer, kNotRequired, kCn, "m"},
        Asked{"PeerWithAssign", "local all all peer assign=1", HbaMethod::peer, kNotRequired, kCn, "", true},
        Asked{"NameCn", "hostssl all all all cert clientname=CN", HbaMethod::cert, kVerifyFull, kCn},
        Asked{"NameDn", "hostssl all all all cert clientname=DN", HbaMethod::cert, kVerifyFull, CertificateName::distinguished_name},
        Asked{"NameUri", "hostssl all all all cert clientname=URI", HbaMethod::cert, kVerifyFull, CertificateName::uri},
        Asked{"NameDns", "hostssl all all all cert clientname=DNS", HbaMethod::cert, kVerifyFull, CertificateName::dns},
        Asked{"NameEmail", "hostssl all all all cert clientname=EMAIL", HbaMethod::cert, kVerifyFull, CertificateName::email},
        Asked{"NameFingerprint", "hostssl all all all cert clientname=FINGERPRINT", HbaMethod::cert, kVerifyFull, CertificateName::fingerprint},
        Asked{"RelayWithVerifyCa", "hostssl all all all relay clientcert=verify-ca", HbaMethod::relay, kVerifyCa},
        Asked{"RelayWithVerifyFullAndMap", "hostssl all all all relay map=m clientname=DN clientcert=verify-full", HbaMethod::relay, kVerifyFull, CertificateName::distinguished_name, "m"},
        Asked{"TrustWithVerifyFullAndMap", "hostssl all all all trust clientcert=verify-full map=m", HbaMethod::trust, kVerifyFull, kCn, "m"},
        Asked{"RejectWithVerifyCa", "hostssl all all all reject clientcert=verify-ca", HbaMethod::reject, kVerifyCa},
        Asked{"AssignOff", "hostssl all all all cert assign=0", HbaMethod::cert, kVerifyFull, kCn, "", false},
        Asked{"OptionsBetweenCommas", "hostssl all all all cert map=m,clientname=CN,assign=1", HbaMethod::cert, kVerifyFull, kCn, "m", true},
        Asked{"MapWithAnEqualsSign", "hostssl all all all cert map=a=b", HbaMethod::cert, kVerifyFull, kCn, "a=b"},
        Asked{"MapInQuotes", "hostssl all all all cert map=\"a b\"", HbaMethod::cert, kVerifyFull, kCn, "a b"},
        Asked{"MapEmpty", "hostssl all all all cert map=", HbaMethod::cert, kVerifyFull, kCn, ""},
        Asked{"MapTwice", "hostssl all all all cert map=a map=b", HbaMethod::cert, kVerifyFull, kCn, "b"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct Scoped {
  const char* name;
  std::string_view record;
  bool is_local;
  bool only_tls;
  bool only_loopback;
};

class HbaRuleScope : public testing::TestWithParam<Scoped> {};

TEST_P(HbaRuleScope, IsKnownForChecks) {
  const auto parsed_rules = rules_of(GetParam().record);
  const HbaRule& rule = *parsed_rules.rules().front();
  EXPECT_EQ(rule.is_local, GetParam().is_local);
  EXPECT_EQ(rule.only_tls, GetParam().only_tls);
  EXPECT_EQ(rule.only_loopback, GetParam().only_loopback);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Hba, HbaRuleScope,
    testing::Values(
        Scoped{"Local", "local all all trust", true, false, false},
        Scoped{"Tls", "hostssl all all all trust", false, true, false},
        Scoped{"AllOfLoopback", "host all all 127.0.0.0/8 trust", false, false, true},
        Scoped{"OneOfLoopback", "host all all 127.1.2.3/32 trust", false, false, true},
        Scoped{"MoreThanLoopback", "host all all 127.0.0.0/7 trust", false, false, false},
        Scoped{"LoopbackByNetmask", "host all all 127.0.0.1 255.255.255.255 trust", false, false, true},
        Scoped{"LoopbackByNetmaskWithAGap", "host all all 127.0.0.1 254.255.255.255 trust", false, false, false},
        Scoped{"LoopbackOfIpv6", "hostssl all all ::1/128 trust", false, true, true},
        Scoped{"MoreThanLoopbackOfIpv6", "host all all ::1/127 trust", false, false, false},
        Scoped{"OtherAddress", "host all all 10.0.0.1/32 trust", false, false, false},
        Scoped{"OtherAddressOfIpv6", "host all all ::2/128 trust", false, false, false},
        Scoped{"All", "host all all all trust", false, false, false},
        Scoped{"SameHost", "host all all samehost trust", false, false, false},
        Scoped{"HostName", "host all all localhost trust", false, false, false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct Network {
  const char* name;
  std::string_view address;
  bool only_ipv4;
  bool only_ipv6;
  bool no_loopback;
};

class HbaRuleNetwork : public testing::TestWithParam<Network> {};

TEST_P(HbaRuleNetwork, IsKnownForChecks) {
  const auto parsed_rules = rules_of("host all all " + std::string(GetParam().address) + " trust");
  const HbaRule& rule = *parsed_rules.rules().front();
  EXPECT_EQ(rule.only_ipv4, GetParam().only_ipv4);
  EXPECT_EQ(rule.only_ipv6, GetParam().only_ipv6);
  EXPECT_EQ(rule.no_loopback, GetParam().no_loopback);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Hba, HbaRuleNetwork,
    testing::Values(
        Network{"All", "all", false, false, false},
        Network{"SameNet", "samenet", false, false, false},
        Network{"HostName", "localhost", false, false, false},
        Network{"EveryIpv4", "0.0.0.0/0", true, false, false},
        Network{"OneOfLoopback", "127.1.2.3/32", true, false, false},
        Network{"MoreThanLoopback", "126.0.0.0/7", true, false, false},
        Network{"OtherIpv4", "10.0.0.0/8", true, false, true},
        Network{"EveryIpv6", "::/0", false, true, false},
        Network{"LoopbackOfIpv6", "::1/128", false, true, false},
        Network{"OtherIpv6", "fe80::/10", false, true, true}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct FaultyRecord {
  const char* name;
  std::string_view record;
  const char* error;  // "MESSAGE. HINT"
};

class HbaError : public testing::TestWithParam<FaultyRecord> {};

TEST_P(HbaError, IsReportedWithItsLineAndAHint) {
  const auto rules = parsed("# one\n\n" + std::string(GetParam().record) + "\nlocal all all peer\n");
  ASSERT_FALSE(rules.has_value());
  EXPECT_EQ(shown(rules.error()), "hba:3: " + std::string(GetParam().error) + '\n');
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Hba, HbaError,
    testing::Values(
        FaultyRecord{"Type", "hosts all all all relay", "invalid connection type \"hosts\". Use local, host, hostssl, hostnossl or hostnogssenc."},
        FaultyRecord{"TypeInAnotherCase", "HOST all all all relay", "invalid connection type \"HOST\". Use local, host, hostssl, hostnossl or hostnogssenc."},
        FaultyRecord{"Types", "host,local all all all relay", "the record has more than one type. Write a record for each."},
        FaultyRecord{"NoDatabase", "host", "the record ends before the databases. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"NoUser", "host all", "the record ends before the users. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"NoAddress", "host all all", "the record ends before the address. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"NoMethod", "host all all all", "the record ends before the method. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"NoMethodBehindLocal", "local all all", "the record ends before the method. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"SameRole", "host samerole all all relay", "\"samerole\" depends on the members of a role, which pgveil does not know. Write the names of the databases or a regular expression, or use method relay and let the server's own pg_hba.conf decide."},
        FaultyRecord{"SameGroup", "host a,samegroup all all relay", "\"samegroup\" depends on the members of a role, which pgveil does not know. Write the names of the databases or a regular expression, or use method relay and let the server's own pg_hba.conf decide."},
        FaultyRecord{"MemberOfRole", "host all a,+staff all relay", "\"+staff\" depends on the members of a role, which pgveil does not know. Write the names of the roles or a regular expression, or use method relay and let the server's own pg_hba.conf decide."},
        FaultyRecord{"ExpressionOfDatabases", "host /( all all relay", "invalid regular expression \"/(\": parentheses () not balanced. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyRecord{"ExpressionOfUsers", "host all /(?=a) all relay", "invalid regular expression \"/(?=a)\": lookahead and lookbehind are not supported. Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported."},
        FaultyRecord{"ExpressionSplitAtAComma", "host all /^guest[0-9]{1,3}$ all reject", "invalid regular expression \"/^guest[0-9]{1\": braces {} not balanced. Put a regular expression that contains a comma in quotation marks.\nhba:3: \"3}$\" is a part of a regular expression that was split at a comma. Put a regular expression that contains a comma in quotation marks."},
        FaultyRecord{"ExpressionSplitIntoTwoSoundParts", "host all /^a,b$ all reject", "\"b$\" is a part of a regular expression that was split at a comma. Put a regular expression that contains a comma in quotation marks."},
        FaultyRecord{"ExpressionOfDatabasesSplit", "host /^(a,b)$ all all reject", "invalid regular expression \"/^(a\": parentheses () not balanced. Put a regular expression that contains a comma in quotation marks.\nhba:3: \"b)$\" is a part of a regular expression that was split at a comma. Put a regular expression that contains a comma in quotation marks."},
        FaultyRecord{"Addresses", "host all all 10.0.0.1/32,10.0.0.2/32 relay", "the record has more than one address. Write a record for each."},
        FaultyRecord{"AddressWithoutMask", "host all all 10.0.0.1 relay", "invalid netmask \"relay\" after an IP address. Write the prefix length after the address, such as 10.0.0.0/8, or 192.0.2.1/32 for one client."},
        FaultyRecord{"AddressWithoutAnything", "host all all 10.0.0.1", "the record ends before the netmask. Write TYPE DATABASE USER ADDRESS METHOD, or local DATABASE USER METHOD."},
        FaultyRecord{"NetmaskOfAnotherFamily", "host all all 10.0.0.0 ffff:: relay", "invalid netmask \"ffff::\" after an IP address. Write the prefix length after the address, such as 10.0.0.0/8, or 192.0.2.1/32 for one client."},
        FaultyRecord{"TooManyBits", "host all all 10.0.0.0/33 relay", "invalid prefix length \"33\". Use 0 to 32 after \"/\"."},
        FaultyRecord{"TooManyBitsOfIpv6", "host all all fd00::/129 relay", "invalid prefix length \"129\". Use 0 to 128 after \"/\"."},
        FaultyRecord{"NoNumberOfBits", "host all all 10.0.0.0/ relay", "invalid prefix length \"\". Use 0 to 32 after \"/\"."},
        FaultyRecord{"NegativeBits", "host all all 10.0.0.0/-1 relay", "invalid prefix length \"-1\". Use 0 to 32 after \"/\"."},
        FaultyRecord{"BitsBehindAHostName", "host all all app.example/32 relay", "invalid IP address \"app.example\". Write an IP address before \"/\", such as 10.0.0.0/8 or fd00::/8, or a host name without \"/\"."},
        FaultyRecord{"OctetOutOfRange", "host all all 10.0.0.256 relay", "invalid IP address \"10.0.0.256\". Write four decimal numbers without leading zeros, or an IPv6 address without brackets."},
        FaultyRecord{"AddressOfTwoNumbers", "host all all 10.1 relay", "invalid IP address \"10.1\". Write four decimal numbers without leading zeros, or an IPv6 address without brackets."},
        FaultyRecord{"AddressInHexadecimal", "host all all 0x0a000001 relay", "invalid IP address \"0x0a000001\". Write four decimal numbers without leading zeros, or an IPv6 address without brackets."},
        FaultyRecord{"AddressInBrackets", "host all all [::1] relay", "invalid IP address \"[::1]\". Write four decimal numbers without leading zeros, or an IPv6 address without brackets."},
        FaultyRecord{"AddressEmpty", "host all all \"\" relay", "the address is empty. Use all for every address."},
        FaultyRecord{"Method", "host all all all rely", "invalid authentication method \"rely\". Use reject, relay, scram-sha-256, password, cert, peer or trust."},
        FaultyRecord{"Methods", "hostssl all all all cert,trust", "the record has more than one method. Write a record for each."},
        FaultyRecord{"AddressBehindLocal", "local all all 127.0.0.1/32 trust", "invalid authentication method \"127.0.0.1/32\". Use reject, relay, scram-sha-256, password, cert, peer or trust."},
        FaultyRecord{"IdentBehindLocal", "local all all ident", "method \"ident\" is not supported for type local. Use peer."},
        FaultyRecord{"CertWithoutTls", "host all all all cert", "method cert requires type hostssl. Use hostssl: a client has a certificate only with TLS."},
        FaultyRecord{"PasswordWithoutTls", "host all all all password", "method password requires type hostssl. Use hostssl, since without TLS the password can be read on the network, or use scram-sha-256."},
        FaultyRecord{"PasswordBehindLocal", "local all all password", "method password requires type hostssl. Use hostssl, since without TLS the password can be read on the network, or use scram-sha-256."},
        FaultyRecord{"AssignOfScram", "hostssl all all all scram-sha-256 clientcert=verify-full assign=1", "option assign cannot be used with method scram-sha-256. Remove it, or use method cert or peer. With other methods, what the client proves depends on the user name that it sent."},
        FaultyRecord{"CertBehindLocal", "local all all cert", "method cert requires type hostssl. Use hostssl: a client has a certificate only with TLS."},
        FaultyRecord{"PeerOverTheNetwork", "hostssl all all all peer", "method peer requires type local. Use local: the system knows the user of a client only on a Unix socket."},
        FaultyRecord{"NoOption", "host all all all relay verify-full", "authentication option \"verify-full\" is not in the format NAME=VALUE. Write NAME=VALUE without blanks."},
        FaultyRecord{"UnknownOption", "hostssl all all all cert include_realm=1", "unrecognized authentication option name: \"include_realm\". The options are clientcert, clientname, map and assign."},
        FaultyRecord{"OptionInAnotherCase", "hostssl all all all cert Map=m", "unrecognized authentication option name: \"Map\". The options are clientcert, clientname, map and assign."},
        FaultyRecord{"ClientcertWithoutTls", "host all all all relay clientcert=verify-ca", "option clientcert requires type hostssl. Use hostssl: a client has a certificate only with TLS."},
        FaultyRecord{"ClientcertOfOldTimes", "hostssl all all all relay clientcert=1", "invalid value for clientcert: \"1\". Use verify-ca or verify-full."},
        FaultyRecord{"ClientcertEmpty", "hostssl all all all relay clientcert=", "invalid value for clientcert: \"\". Use verify-ca or verify-full."},
        FaultyRecord{"ClientcertVerifyCaWithCert", "hostssl all all all cert clientcert=verify-ca", "method cert cannot be combined with clientcert=verify-ca. Remove the option: method cert always compares the name in the certificate."},
        FaultyRecord{"Clientname", "hostssl all all all cert clientname=cn", "invalid value for clientname: \"cn\". Use CN, DN, URI, DNS, EMAIL or FINGERPRINT."},
        FaultyRecord{"ClientnameWithoutCertificate", "hostssl all all all relay clientname=DN", "option clientname has no effect: the record does not require a client certificate. Remove it, or use method cert or clientcert=verify-full."},
        FaultyRecord{"MapOfRelay", "hostssl all all all relay map=m", "option map has no effect: the record does not compare names. Remove it, or use method cert, method peer or clientcert=verify-full."},
        FaultyRecord{"MapOfVerifyCa", "hostssl all all all relay clientcert=verify-ca map=m", "option map has no effect: the record does not compare names. Remove it, or use method cert, method peer or clientcert=verify-full."},
        FaultyRecord{"MapOfReject", "hostssl all all all reject clientcert=verify-full map=m", "option map has no effect: the record does not compare names. Remove it, or use method cert, method peer or clientcert=verify-full."},
        FaultyRecord{"AssignOfRelay", "hostssl all all all relay clientcert=verify-full assign=1", "option assign cannot be used with method relay. Remove it, or use method cert or peer. With other methods, what the client proves depends on the user name that it sent."},
        FaultyRecord{"AssignOfTrust", "host all all all trust assign=0", "option assign cannot be used with method trust. Remove it, or use method cert or peer. With other methods, what the client proves depends on the user name that it sent."},
        FaultyRecord{"AssignValue", "hostssl all all all cert assign=yes", "invalid value for assign: \"yes\". Use 0 or 1."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class MethodOfTheServer : public testing::TestWithParam<const char*> {};

TEST_P(MethodOfTheServer, IsAnErrorThatPointsToRelay) {
  const std::string method = GetParam();
  const auto rules = parsed("hostssl all all all " + method + " map=m ldapserver=x");
  ASSERT_FALSE(rules.has_value());
  EXPECT_EQ(
      shown(rules.error()),
      "hba:1: method \"" + method +
          "\" is not supported. Use relay, with which the server authenticates the client, or scram-sha-256.\n");
}

INSTANTIATE_TEST_SUITE_P(Hba, MethodOfTheServer,
                         testing::Values("md5", "gss", "sspi", "ident", "pam", "ldap", "radius", "bsd",
                                         "oauth"));

TEST(HbaErrors, OfAFileAreNamedAllAtOnce) {
  const auto rules = parsed(
      "hosts all all all relay\n"
      "host samerole,/( +staff 10.0.0.0/8 cert\n"
      "host all all all relay\n"
      "host all all all relay map=m clientname=CN assign=1\n");
  ASSERT_FALSE(rules.has_value());
  std::vector<int> lines;
  for (const AuthFileError& error : rules.error()) lines.push_back(error.line);
  EXPECT_EQ(lines, (std::vector{1, 2, 2, 2, 2, 4, 4, 4}));
}

TEST(HbaErrors, IncludeAFileWithoutRecords) {
  const auto rules = parsed("# host all all all relay\n");
  ASSERT_FALSE(rules.has_value());
  ASSERT_EQ(rules.error().size(), 1u);
  EXPECT_EQ(rules.error().front().message, "no record found; no client could log in");
  EXPECT_NE(rules.error().front().hint, "");
}

TEST(IpAddress, IsReadAsWritten) {
  EXPECT_EQ(address_of("192.0.2.1").bytes, (std::array<std::uint8_t, 16>{192, 0, 2, 1}));
  EXPECT_FALSE(address_of("192.0.2.1").is_ipv6);
  EXPECT_EQ(address_of("::1").bytes.back(), 1);
  EXPECT_TRUE(address_of("::ffff:192.0.2.1").is_ipv6);
  EXPECT_NE(address_of("::ffff:192.0.2.1"), address_of("192.0.2.1"));
  using namespace std::string_view_literals;
  for (const auto text : {""sv, "10.1"sv, "010.0.0.1"sv, "192.0.2.1 "sv, "[::1]"sv, "localhost"sv, "::1\0"sv})
    EXPECT_EQ(parse_ip_address(text), std::nullopt) << text;
}

TEST(NamesOfHba, AreThoseOfTheFile) {
  EXPECT_EQ(name_of(HbaMethod::relay), "relay");
  EXPECT_EQ(name_of(HbaMethod::reject), "reject");
  EXPECT_EQ(name_of(CertificateName::common_name), "CN");
  EXPECT_EQ(name_of(CertificateName::fingerprint), "FINGERPRINT");
}

}  // namespace
}  // namespace pgveil::protocol
