#include "protocol/hba.h"

#include <gtest/gtest.h>

#include "tests/support/auth_files.h"

namespace pgveil::protocol {
namespace {

using test::FakeAuthFiles;
using test::shown;

tl::expected<HbaRules, AuthFileMistakes> parsed(std::string_view text) {
  return split_auth_file(text, "hba", 1, FakeAuthFiles()).and_then([](const auto& lines) {
    return HbaRules::parse(lines);
  });
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
        Matched{"ExpressionOnOctetsThatAreNoUtf8", "host /^l.r$ all all reject", client_of("ann", "l\xffr"), true},
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
        Matched{"BitsThatFillNoOctet", "host all all 10.1.0.0/14 relay", client_from("10.3.255.255"), true},
        Matched{"BitsThatFillNoOctetAndTheNext", "host all all 10.1.0.0/14 relay", client_from("10.4.0.0"), false},
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

struct Mistaken {
  const char* name;
  std::string_view record;
  const char* mistake;  // "PROBLEM. REMEDY"
};

class HbaMistake : public testing::TestWithParam<Mistaken> {};

TEST_P(HbaMistake, IsNamedWithItsLineAndARemedy) {
  const auto rules = parsed("# one\n\n" + std::string(GetParam().record) + "\nlocal all all peer\n");
  ASSERT_FALSE(rules.has_value());
  EXPECT_EQ(shown(rules.error()), "hba:3: " + std::string(GetParam().mistake) + '\n');
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Hba, HbaMistake,
    testing::Values(
        Mistaken{"Type", "hosts all all all relay", "\"hosts\" is no type of record. Write local, host, hostssl, hostnossl or hostnogssenc."},
        Mistaken{"TypeInAnotherCase", "HOST all all all relay", "\"HOST\" is no type of record. Write local, host, hostssl, hostnossl or hostnogssenc."},
        Mistaken{"Types", "host,local all all all relay", "the record has more than one type. Write a record for each."},
        Mistaken{"NoDatabase", "host", "the record ends before its databases. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"NoUser", "host all", "the record ends before its users. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"NoAddress", "host all all", "the record ends before its address. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"NoMethod", "host all all all", "the record ends before its method. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"NoMethodBehindLocal", "local all all", "the record ends before its method. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"SameRole", "host samerole all all relay", "\"samerole\" asks who is a member of a role, which a proxy does not know. Name the databases, or use a regular expression, or write relay and let the server's own pg_hba.conf decide."},
        Mistaken{"SameGroup", "host a,samegroup all all relay", "\"samegroup\" asks who is a member of a role, which a proxy does not know. Name the databases, or use a regular expression, or write relay and let the server's own pg_hba.conf decide."},
        Mistaken{"MemberOfRole", "host all a,+staff all relay", "\"+staff\" asks who is a member of a role, which a proxy does not know. Name the roles, or use a regular expression, or write relay and let the server's own pg_hba.conf decide."},
        Mistaken{"ExpressionOfDatabases", "host /( all all relay", "invalid regular expression \"/(\": parentheses () not balanced. Correct it: docs/access-rules.md lists which parts of PostgreSQL's regular expressions can be used."},
        Mistaken{"ExpressionOfUsers", "host all /(?=a) all relay", "invalid regular expression \"/(?=a)\": lookahead and lookbehind are not supported. Correct it: docs/access-rules.md lists which parts of PostgreSQL's regular expressions can be used."},
        Mistaken{"ExpressionSplitAtAComma", "host all /^guest[0-9]{1,3}$ all reject", "invalid regular expression \"/^guest[0-9]{1\": braces {} not balanced. Put a regular expression with a comma in it into quotation marks.\nhba:3: \"3}$\" is the rest of a regular expression that was split at a comma. Put a regular expression with a comma in it into quotation marks."},
        Mistaken{"ExpressionSplitIntoTwoSoundParts", "host all /^a,b$ all reject", "\"b$\" is the rest of a regular expression that was split at a comma. Put a regular expression with a comma in it into quotation marks."},
        Mistaken{"ExpressionOfDatabasesSplit", "host /^(a,b)$ all all reject", "invalid regular expression \"/^(a\": parentheses () not balanced. Put a regular expression with a comma in it into quotation marks.\nhba:3: \"b)$\" is the rest of a regular expression that was split at a comma. Put a regular expression with a comma in it into quotation marks."},
        Mistaken{"Addresses", "host all all 10.0.0.1/32,10.0.0.2/32 relay", "the record has more than one address. Write a record for each."},
        Mistaken{"AddressWithoutMask", "host all all 10.0.0.1 relay", "\"relay\" is no netmask for the address before it. Write the bits behind the address, such as 10.0.0.0/8, or 192.0.2.1/32 for one client."},
        Mistaken{"AddressWithoutAnything", "host all all 10.0.0.1", "the record ends before its netmask. Write TYPE DATABASE USER ADDRESS METHOD, without ADDRESS behind local."},
        Mistaken{"NetmaskOfAnotherFamily", "host all all 10.0.0.0 ffff:: relay", "\"ffff::\" is no netmask for the address before it. Write the bits behind the address, such as 10.0.0.0/8, or 192.0.2.1/32 for one client."},
        Mistaken{"TooManyBits", "host all all 10.0.0.0/33 relay", "\"33\" is no number of bits. Write 0 to 32 behind the \"/\"."},
        Mistaken{"TooManyBitsOfIpv6", "host all all fd00::/129 relay", "\"129\" is no number of bits. Write 0 to 128 behind the \"/\"."},
        Mistaken{"NoNumberOfBits", "host all all 10.0.0.0/ relay", "\"\" is no number of bits. Write 0 to 32 behind the \"/\"."},
        Mistaken{"NegativeBits", "host all all 10.0.0.0/-1 relay", "\"-1\" is no number of bits. Write 0 to 32 behind the \"/\"."},
        Mistaken{"BitsBehindAHostName", "host all all app.example/32 relay", "\"app.example\" is no address. Write an address before the \"/\", such as 10.0.0.0/8 or fd00::/8; a host name has none."},
        Mistaken{"OctetOutOfRange", "host all all 10.0.0.256 relay", "\"10.0.0.256\" is no address. Write four decimal numbers without zeros in front, or an IPv6 address without brackets."},
        Mistaken{"AddressOfTwoNumbers", "host all all 10.1 relay", "\"10.1\" is no address. Write four decimal numbers without zeros in front, or an IPv6 address without brackets."},
        Mistaken{"AddressInHexadecimal", "host all all 0x0a000001 relay", "\"0x0a000001\" is no address. Write four decimal numbers without zeros in front, or an IPv6 address without brackets."},
        Mistaken{"AddressInBrackets", "host all all [::1] relay", "\"[::1]\" is no address. Write four decimal numbers without zeros in front, or an IPv6 address without brackets."},
        Mistaken{"AddressEmpty", "host all all \"\" relay", "the address is empty. Write all for every address."},
        Mistaken{"Method", "host all all all rely", "\"rely\" is no method. Write reject, relay, scram-sha-256, password, cert, peer or trust."},
        Mistaken{"Methods", "hostssl all all all cert,trust", "the record has more than one method. Write a record for each."},
        Mistaken{"AddressBehindLocal", "local all all 127.0.0.1/32 trust", "\"127.0.0.1/32\" is no method. Write reject, relay, scram-sha-256, password, cert, peer or trust."},
        Mistaken{"IdentBehindLocal", "local all all ident", "\"ident\" means peer behind local. Write peer."},
        Mistaken{"CertWithoutTls", "host all all all cert", "cert stands behind host. Write hostssl: only over TLS there is a certificate."},
        Mistaken{"PasswordWithoutTls", "host all all all password", "password stands behind host. Write hostssl: without TLS everyone on the path would read the password; or write scram-sha-256."},
        Mistaken{"PasswordBehindLocal", "local all all password", "password stands behind local. Write hostssl: without TLS everyone on the path would read the password; or write scram-sha-256."},
        Mistaken{"AssignOfScram", "hostssl all all all scram-sha-256 clientcert=verify-full assign=1", "assign does not go with scram-sha-256. Take it out, or write cert or peer: otherwise the server asks the client, whose answer may depend on the name that it gave."},
        Mistaken{"CertBehindLocal", "local all all cert", "cert stands behind local. Write hostssl: only over TLS there is a certificate."},
        Mistaken{"PeerOverTheNetwork", "hostssl all all all peer", "peer stands behind hostssl. Write local: only of a Unix socket does the system know who is at its other end."},
        Mistaken{"NoOption", "host all all all relay verify-full", "\"verify-full\" is no option. Write options as NAME=VALUE, without blanks."},
        Mistaken{"UnknownOption", "hostssl all all all cert include_realm=1", "\"include_realm\" is no option. The options are clientcert, clientname, map and assign."},
        Mistaken{"OptionInAnotherCase", "hostssl all all all cert Map=m", "\"Map\" is no option. The options are clientcert, clientname, map and assign."},
        Mistaken{"ClientcertWithoutTls", "host all all all relay clientcert=verify-ca", "clientcert stands behind host. Write hostssl: only over TLS there is a certificate."},
        Mistaken{"ClientcertOfOldTimes", "hostssl all all all relay clientcert=1", "\"1\" is no value of clientcert. Write verify-ca or verify-full."},
        Mistaken{"ClientcertEmpty", "hostssl all all all relay clientcert=", "\"\" is no value of clientcert. Write verify-ca or verify-full."},
        Mistaken{"ClientcertVerifyCaWithCert", "hostssl all all all cert clientcert=verify-ca", "cert does not go with clientcert=verify-ca. Take the option out: with cert the name is always compared."},
        Mistaken{"Clientname", "hostssl all all all cert clientname=cn", "\"cn\" is no value of clientname. Write CN, DN, URI, DNS, EMAIL or FINGERPRINT."},
        Mistaken{"ClientnameWithoutCertificate", "hostssl all all all relay clientname=DN", "clientname has no effect where no certificate is asked for. Take it out, or write cert or clientcert=verify-full."},
        Mistaken{"MapOfRelay", "hostssl all all all relay map=m", "map has no effect where no name is compared. Take it out, or write cert, peer or clientcert=verify-full."},
        Mistaken{"MapOfVerifyCa", "hostssl all all all relay clientcert=verify-ca map=m", "map has no effect where no name is compared. Take it out, or write cert, peer or clientcert=verify-full."},
        Mistaken{"MapOfReject", "hostssl all all all reject clientcert=verify-full map=m", "map has no effect where no name is compared. Take it out, or write cert, peer or clientcert=verify-full."},
        Mistaken{"AssignOfRelay", "hostssl all all all relay clientcert=verify-full assign=1", "assign does not go with relay. Take it out, or write cert or peer: otherwise the server asks the client, whose answer may depend on the name that it gave."},
        Mistaken{"AssignOfTrust", "host all all all trust assign=0", "assign does not go with trust. Take it out, or write cert or peer: otherwise the server asks the client, whose answer may depend on the name that it gave."},
        Mistaken{"AssignValue", "hostssl all all all cert assign=yes", "\"yes\" is no value of assign. Write 0 or 1."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class MethodOfTheServer : public testing::TestWithParam<const char*> {};

TEST_P(MethodOfTheServer, IsAMistakeThatPointsToRelay) {
  const std::string method = GetParam();
  const auto rules = parsed("hostssl all all all " + method + " map=m ldapserver=x");
  ASSERT_FALSE(rules.has_value());
  EXPECT_EQ(shown(rules.error()),
            "hba:1: \"" + method +
                "\" is for the server to ask: pgveil itself does not. Write relay, with "
                "which the server asks the client, or scram-sha-256.\n");
}

INSTANTIATE_TEST_SUITE_P(Hba, MethodOfTheServer,
                         testing::Values("md5", "gss", "sspi", "ident", "pam", "ldap", "radius", "bsd",
                                         "oauth"));

TEST(HbaMistakes, OfAFileAreNamedAllAtOnce) {
  const auto rules = parsed(
      "hosts all all all relay\n"
      "host samerole,/( +staff 10.0.0.0/8 cert\n"
      "host all all all relay\n"
      "host all all all relay map=m clientname=CN assign=1\n");
  ASSERT_FALSE(rules.has_value());
  std::vector<int> lines;
  for (const AuthFileMistake& mistake : rules.error()) lines.push_back(mistake.line);
  EXPECT_EQ(lines, (std::vector{1, 2, 2, 2, 2, 4, 4, 4}));
}

TEST(HbaMistakes, IncludeAFileWithoutRecords) {
  const auto rules = parsed("# host all all all relay\n");
  ASSERT_FALSE(rules.has_value());
  ASSERT_EQ(rules.error().size(), 1u);
  EXPECT_EQ(rules.error().front().problem, "there is no record, so that nobody could log in");
  EXPECT_NE(rules.error().front().remedy, "");
}

TEST(IpAddress, IsReadAsWritten) {
  EXPECT_EQ(address_of("192.0.2.1").octets, (std::array<std::uint8_t, 16>{192, 0, 2, 1}));
  EXPECT_FALSE(address_of("192.0.2.1").is_ipv6);
  EXPECT_EQ(address_of("::1").octets.back(), 1);
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
