#include "tls/host_name.h"

#include <gtest/gtest.h>

namespace pgveil::tls {
namespace {

using namespace std::string_literals;

CertificateNames::AlternativeName dns(std::string octets) {
  return {CertificateNames::Kind::dns_name, std::move(octets)};
}

CertificateNames::AlternativeName ip(std::string octets) {
  return {CertificateNames::Kind::ip_address, std::move(octets)};
}

CertificateNames cn(std::string name) {
  return {.alternative_names = {}, .first_common_name = std::move(name)};
}

CertificateNames names(std::vector<CertificateNames::AlternativeName> alternatives,
                       std::optional<std::string> common_name = std::nullopt) {
  return {std::move(alternatives), std::move(common_name)};
}

const std::string kDocumentationAddress = "\xc0\x00\x02\x01"s;  // 192.0.2.1
const std::string kV6Loopback = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"s;

struct NameCase {
  std::string title;
  std::string host;
  CertificateNames names;
  HostMatch expected;
};

void PrintTo(const NameCase& row, std::ostream* out) {
  *out << row.title;
}

class LibpqNameRule : public testing::TestWithParam<NameCase> {};

TEST_P(LibpqNameRule, Decides) {
  EXPECT_EQ(match_host(GetParam().host, GetParam().names), GetParam().expected);
}

constexpr auto kMatch = HostMatch::match;
constexpr auto kMismatch = HostMatch::mismatch;
constexpr auto kMalformed = HostMatch::malformed;

// clang-format off
INSTANTIATE_TEST_SUITE_P(Names, LibpqNameRule, testing::Values(
    NameCase{"DnsNameEqual", "db.x.y", names({dns("db.x.y")}), kMatch},
    NameCase{"DnsNameWithoutCase", "DB.x.Y", names({dns("db.X.y")}), kMatch},
    NameCase{"DnsNameOther", "db.x.y", names({dns("db2.x.y")}), kMismatch},
    NameCase{"DnsNameIsAPrefixOfTheHost", "db.x.y.evil", names({dns("db.x.y")}), kMismatch},
    NameCase{"HostIsAPrefixOfTheDnsName", "db.x", names({dns("db.x.y")}), kMismatch},
    NameCase{"SecondDnsName", "db.x.y", names({dns("a.x.y"), dns("db.x.y")}), kMatch},
    NameCase{"TrailingDotIsNotTakenAway", "db.x.y.", names({dns("db.x.y")}), kMismatch},
    NameCase{"UnderscoreIsAnOctetLikeAnother", "d_b.x.y", names({dns("d_b.x.y")}), kMatch},
    NameCase{"NonAsciiOctetsAreComparedAsTheyAre", "d\xc3\xbc.x.y", names({dns("d\xc3\x9c.x.y")}), kMismatch},
    NameCase{"NoNamesAtAll", "db.x.y", names({}), kMismatch},
    NameCase{"EmptyHost", "", names({dns("")}, ""), kMismatch},
    NameCase{"NulInTheHost", "192.0.2.1\0.x.y"s, names({ip(kDocumentationAddress)}), kMismatch}),
    [](const auto& row) { return row.param.title; });

INSTANTIATE_TEST_SUITE_P(Wildcards, LibpqNameRule, testing::Values(
    NameCase{"OneLabel", "db.x.y", names({dns("*.x.y")}), kMatch},
    NameCase{"OneLabelWithoutCase", "db.X.y", names({dns("*.x.Y")}), kMatch},
    NameCase{"OneLabelWithUnderscore", "a_b.x.y", names({dns("*.x.y")}), kMatch},
    NameCase{"NotTwoLabels", "a.db.x.y", names({dns("*.x.y")}), kMismatch},
    NameCase{"NotNoLabel", "x.y", names({dns("*.x.y")}), kMismatch},
    NameCase{"NotAnEmptyLabel", ".x.y", names({dns("*.x.y")}), kMismatch},
    NameCase{"NotALabelThatEndsInADot", "a..x.y", names({dns("*.x.y")}), kMismatch},
    NameCase{"OneLabelBehind", "db.com", names({dns("*.com")}), kMatch},
    NameCase{"OneLabelBehindLocal", "db.local", names({dns("*.local")}), kMatch},
    NameCase{"AloneIsNone", "db", names({dns("*")}), kMismatch},
    NameCase{"WithOnlyADotIsNone", "db.", names({dns("*.")}), kMismatch},
    NameCase{"PartialAtTheEnd", "hx.x.y", names({dns("h*.x.y")}), kMismatch},
    NameCase{"PartialAtTheStart", "xh.x.y", names({dns("*h.x.y")}), kMismatch},
    NameCase{"InTheMiddle", "db.x.y", names({dns("db.*.y")}), kMismatch},
    NameCase{"Twice", "a.db.y", names({dns("*.*.y")}), kMismatch},
    NameCase{"InTheCommonName", "db.x.y", cn("*.x.y"), kMatch},
    NameCase{"InTheHostMeansNothing", "*.x.y", names({dns("db.x.y")}), kMismatch},
    NameCase{"LeadingDotInTheHost", ".x.y", names({dns("db.x.y")}), kMismatch},
    NameCase{"LeadingDotInTheCertificate", "db.x.y", names({dns(".x.y")}), kMismatch}),
    [](const auto& row) { return row.param.title; });

INSTANTIATE_TEST_SUITE_P(CommonName, LibpqNameRule, testing::Values(
    NameCase{"DecidesAlone", "db.x.y", cn("db.x.y"), kMatch},
    NameCase{"DoesNotCountBesideADnsName", "db.x.y", names({dns("a.x.y")}, "db.x.y"), kMismatch},
    NameCase{"CountsBesideAnAddressForAName", "db.x.y", names({ip(kDocumentationAddress)}, "db.x.y"), kMatch},
    NameCase{"CountsBesideADnsNameForAnAddress", "192.0.2.1", names({dns("a.x.y")}, "192.0.2.1"), kMatch},
    NameCase{"DoesNotCountBesideAnAddressForAnAddress", "192.0.2.2",
             names({ip(kDocumentationAddress)}, "192.0.2.2"), kMismatch},
    NameCase{"IsTextEvenForAnAddress", "192.000.002.001", cn("192.0.2.1"), kMismatch}),
    [](const auto& row) { return row.param.title; });

INSTANTIATE_TEST_SUITE_P(Addresses, LibpqNameRule, testing::Values(
    NameCase{"V4", "192.0.2.1", names({ip(kDocumentationAddress)}), kMatch},
    NameCase{"V4Other", "192.0.2.2", names({ip(kDocumentationAddress)}), kMismatch},
    NameCase{"V4AsOctal", "192.000.002.001", names({ip(kDocumentationAddress)}), kMatch},
    NameCase{"V4AsOctalIsNotDecimal", "192.0.2.010", names({ip("\xc0\x00\x02\x0a"s)}), kMismatch},
    NameCase{"V4AsOneNumber", "3221225985", names({ip(kDocumentationAddress)}), kMatch},
    NameCase{"V4AsHexadecimal", "0xc0000201", names({ip(kDocumentationAddress)}), kMatch},
    NameCase{"V6", "::1", names({ip(kV6Loopback)}), kMatch},
    NameCase{"V6WrittenOut", "0:0:0:0:0:0:0:1", names({ip(kV6Loopback)}), kMatch},
    NameCase{"V6Other", "::2", names({ip(kV6Loopback)}), kMismatch},
    NameCase{"V4IsNoMappedV6", "192.0.2.1",
             names({ip("\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"s)}), kMismatch},
    // libpq accepts the first four.
    NameCase{"NotADnsNameThatIsSpeltAsTheAddress", "192.0.2.1", names({dns("192.0.2.1")}), kMismatch},
    NameCase{"NotADnsNameBesideAnotherAddress", "192.0.2.1",
             names({ip("\x0a\x00\x00\x01"s), dns("192.0.2.1")}), kMismatch},
    NameCase{"NotAWildcard", "192.0.2.1", names({dns("*.0.2.1")}), kMismatch},
    NameCase{"NotAWildcardInTheCommonName", "192.0.2.1", cn("*.0.2.1"), kMismatch},
    NameCase{"V6NotAWildcard", "::ffff:192.0.2.1", names({dns("*.0.2.1")}), kMismatch},
    NameCase{"V6NotADnsName", "::1", names({dns("::1")}), kMismatch},
    NameCase{"WithAZoneNotAWildcard", "fe80::1%eth0.7", names({dns("*.7")}), kMismatch},
    NameCase{"OfNumbersOnlyNotAWildcard", "256.1.1.1", names({dns("*.1.1.1")}), kMismatch},
    NameCase{"InAnotherFormNotADnsName", "0xc0000201", names({dns("0xc0000201")}), kMismatch},
    NameCase{"BesideADnsNameAsMatches", "192.0.2.1", names({dns("192.0.2.1"), ip(kDocumentationAddress)}), kMatch},
    NameCase{"NameIsNoAddress", "db.x.y", names({ip(kDocumentationAddress)}), kMismatch}),
    [](const auto& row) { return row.param.title; });

// The setting is certificate_common_name = "never".
class NameRuleWithoutCommonName : public testing::TestWithParam<NameCase> {};

TEST_P(NameRuleWithoutCommonName, Decides) {
  EXPECT_EQ(match_host(GetParam().host, GetParam().names, CommonNameRule::never), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Names, NameRuleWithoutCommonName, testing::Values(
    NameCase{"CommonNameAlone", "db.x.y", cn("db.x.y"), kMismatch},
    NameCase{"WildcardInTheCommonName", "db.x.y", cn("*.x.y"), kMismatch},
    NameCase{"CommonNameBesideAnAddress", "db.x.y", names({ip(kDocumentationAddress)}, "db.x.y"), kMismatch},
    NameCase{"AddressAsCommonName", "192.0.2.1", cn("192.0.2.1"), kMismatch},
    NameCase{"DnsName", "db.x.y", names({dns("db.x.y")}, "other"), kMatch},
    NameCase{"Address", "192.0.2.1", names({ip(kDocumentationAddress)}), kMatch}),
    [](const auto& row) { return row.param.title; });

INSTANTIATE_TEST_SUITE_P(Malformed, LibpqNameRule, testing::Values(
    NameCase{"NulInADnsName", "db.x.y", names({dns("db.x.y\0.evil"s)}), kMalformed},
    NameCase{"NulInTheCommonName", "db.x.y", cn("db.x.y\0.evil"s), kMalformed},
    NameCase{"NulAtTheEnd", "db.x.y", names({dns("db.x.y\0"s)}), kMalformed},
    NameCase{"NulBeforeAGoodName", "db.x.y", names({dns("a\0b"s), dns("db.x.y")}), kMalformed},
    NameCase{"NulBehindAGoodNameIsNotSeen", "db.x.y", names({dns("db.x.y"), dns("a\0b"s)}), kMatch},
    NameCase{"AddressOfFiveOctets", "192.0.2.1", names({ip("\xc0\x00\x02\x01\x01"s)}), kMalformed},
    NameCase{"AddressOfNoOctets", "192.0.2.1", names({ip("")}), kMalformed},
    NameCase{"AddressOfFiveOctetsForAName", "db.x.y", names({ip("12345")}, "db.x.y"), kMalformed}),
    [](const auto& row) { return row.param.title; });
// clang-format on

TEST(HostAddress, IsWhatTheSystemsParsersTake) {
  for (const char* host : {"192.0.2.1", "192.2", "3221225985", "0x7f.1", "::1", "fe80::1", "::ffff:1.2.3.4"})
    EXPECT_TRUE(is_ip_address(host)) << host;
  for (const char* host : {"", "db", "db.x.y", "1.2.3.4.5", "256.1.1.1", "[::1]", "fe80::1%eth0"})
    EXPECT_FALSE(is_ip_address(host)) << host;
}

TEST(HostAddress, HasNothingBehindANul) {
  EXPECT_FALSE(is_ip_address("192.0.2.1\0.x.y"s));
}

TEST(ServerNameIndication, IsSentForNames) {
  for (const char* host : {"db", "db.x.y", "1db", "0x7f.1"}) EXPECT_TRUE(is_sent_as_sni(host)) << host;
}

TEST(ServerNameIndication, IsNotSentForAnythingLikeAnAddress) {
  for (const char* host : {"", "192.0.2.1", "3221225985", "1.2.3.4.5", ".", "::1", "db:x"})
    EXPECT_FALSE(is_sent_as_sni(host)) << host;
}

TEST(DescribedNames, AreAllAlternativeNames) {
  EXPECT_EQ(describe(names({dns("db.x.y"), dns("*.x.y"), ip(kDocumentationAddress), ip(kV6Loopback)}, "cn")),
            R"("db.x.y", "*.x.y", 192.0.2.1, ::1)");
}

TEST(DescribedNames, AreTheCommonNameWhereItDecides) {
  EXPECT_EQ(describe(cn("db.x.y")), R"("db.x.y" (as its CN))");
}

TEST(DescribedNames, AreNobodyWhereThereAreNone) {
  EXPECT_EQ(describe(names({})), "nobody");
}

TEST(DescribedNames, ShowControlBytesAndQuotesEscaped) {
  EXPECT_EQ(describe(names({dns("a\0b\n\"\\\x7f\xc3"s)})), R"("a\x00b\x0a\x22\x5c\x7f\xc3")");
}

TEST(DescribedNames, ShowThatAnAddressIsOfImpossibleLength) {
  EXPECT_EQ(describe(names({ip("123")})), "an address of impossible length");
}

// An impostor of the server can choose these names, and they are written to our log.
TEST(DescribedNames, AreCutWhereTheyAreMany) {
  std::string sixteen = R"("a")";
  for (int i = 1; i < 16; ++i) sixteen += R"(, "a")";
  EXPECT_EQ(describe(names(std::vector(1000, dns("a")))), sixteen + " and 984 more");
}

}  // namespace
}  // namespace pgveil::tls
