#include "tls/peer_certificate.h"

#include <gtest/gtest.h>

#include <ctime>

#include "tests/support/certificates.h"
#include "tls/internal/certificate_values.h"

namespace pgveil::tls {
namespace {

using namespace std::string_literals;
using pgveil::test::CertificateRequest;
using NameKind = CertificateNames::Kind;

TEST(UtcText, IsReadableAndSaysItsZone) {
  EXPECT_EQ(utc_text(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(utc_text(1'795'487'034), "2026-11-24 02:23:54 UTC");
  EXPECT_EQ(utc_text(-1), "1969-12-31 23:59:59 UTC");
  EXPECT_EQ(utc_text(253'402'300'799), "9999-12-31 23:59:59 UTC");
}

struct Subject {
  const char* name;
  std::vector<std::string> common_names;
  const char* text;
};
void PrintTo(const Subject& row, std::ostream* out) {
  *out << row.name;
}

class SubjectText : public testing::TestWithParam<Subject> {};

TEST_P(SubjectText, IsThatOfRfc2253) {
  CertificateRequest request;
  request.common_names = GetParam().common_names;
  EXPECT_EQ(values_of(self_signed(request).certificate()).subject, GetParam().text);
}

// The text with which PostgreSQL compares for clientname=DN (be-secure-openssl.c: be_tls_open_server).
// clang-format off
INSTANTIATE_TEST_SUITE_P(Names, SubjectText, testing::Values(
    Subject{"Empty", {}, ""},
    Subject{"Plain", {"alice"}, "CN=alice"},
    Subject{"LastFirst", {"first", "second"}, "CN=second,CN=first"},
    Subject{"SeparatorsAreEscaped", {"x,CN=admin"}, "CN=x\\,CN=admin"},
    Subject{"Utf8IsEscaped", {"J\xc3\xbcrgen"}, "CN=J\\C3\\BCrgen"},
    Subject{"ControlsAreEscaped", {"a\nb\0c"s}, "CN=a\\0Ab\\00c"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(PeerCertificate, NamesItsIssuer) {
  const auto root = pgveil::test::authority("Test Root");
  CertificateRequest request;
  request.common_names = {"alice"};
  EXPECT_EQ(values_of(issued_by(root, request).certificate()).issuer, "CN=Test Root");
}

TEST(PeerCertificate, KeepsNamesOctetForOctetInTheirOrder) {
  CertificateRequest request;
  request.common_names = {"first\0x"s, "second"};
  request.alternative_names = {pgveil::test::ip("\x7f\0\0\x01"s), pgveil::test::email("a@example.com"),
                               pgveil::test::dns("a\0b"s), pgveil::test::uri("spiffe://x/y"),
                               pgveil::test::ip("\x01")};
  const auto names = values_of(self_signed(request).certificate()).names;
  EXPECT_EQ(names.first_common_name, "first\0x"s);
  ASSERT_EQ(names.alternative_names.size(), 3U);
  EXPECT_EQ(names.alternative_names[0].kind, NameKind::ip_address);
  EXPECT_EQ(names.alternative_names[0].value, "\x7f\0\0\x01"s);
  EXPECT_EQ(names.alternative_names[1].kind, NameKind::dns_name);
  EXPECT_EQ(names.alternative_names[1].value, "a\0b"s);
  EXPECT_EQ(names.alternative_names[2].value, "\x01");
}

// --- for identity maps ---

TEST(PeerCertificate, KeepsCommonNamesOctetForOctetInTheirOrder) {
  CertificateRequest request;
  request.attributes = {{NID_organizationName, V_ASN1_UTF8STRING, "Acme, Inc."},
                        {NID_commonName, V_ASN1_BMPSTRING, "\0b\0o\0b"s}};
  request.common_names = {"ali\0ce"s, "J\xc3\xbcrgen", "x,CN=admin"};
  const auto values = values_of(self_signed(request).certificate());
  EXPECT_EQ(values.common_names,
            (std::vector<std::string>{"\0b\0o\0b"s, "ali\0ce"s, "J\xc3\xbcrgen", "x,CN=admin"}));
}

TEST(PeerCertificate, KeepsAlternativeNamesByKindInTheirOrder) {
  CertificateRequest request;
  request.common_names = {"app"};
  request.alternative_names = {
      pgveil::test::uri("spiffe://prod/b"),    pgveil::test::dns("b.example.com"),
      pgveil::test::email("b@example.com"),    pgveil::test::ip("\x7f\0\0\x01"s),
      pgveil::test::dns("a\0b.example.com"s),  pgveil::test::uri("spiffe://prod/a\0b"s),
      pgveil::test::email("a\0b@example.com"s)};
  const auto values = values_of(self_signed(request).certificate());
  EXPECT_EQ(values.dns_names, (std::vector<std::string>{"b.example.com", "a\0b.example.com"s}));
  EXPECT_EQ(values.uris, (std::vector<std::string>{"spiffe://prod/b", "spiffe://prod/a\0b"s}));
  EXPECT_EQ(values.emails, (std::vector<std::string>{"b@example.com", "a\0b@example.com"s}));
}

TEST(PeerCertificate, HasNoNamesWhereItHasNone) {
  const auto values = values_of(pgveil::test::self_signed({}).certificate());
  EXPECT_TRUE(values.common_names.empty());
  EXPECT_TRUE(values.dns_names.empty());
  EXPECT_TRUE(values.uris.empty());
  EXPECT_TRUE(values.emails.empty());
}

struct TextualSubject {
  const char* name;
  std::vector<pgveil::test::Attribute> attributes;
  bool is_text;
  const char* subject;
};
void PrintTo(const TextualSubject& row, std::ostream* out) {
  *out << row.name;
}

class SubjectIsText : public testing::TestWithParam<TextualSubject> {};

TEST_P(SubjectIsText, WhereEveryAttributeIs) {
  CertificateRequest request;
  request.attributes = GetParam().attributes;
  request.common_names = {"app"};
  const auto values = values_of(self_signed(request).certificate());
  EXPECT_EQ(values.subject_is_text, GetParam().is_text);
  EXPECT_EQ(values.subject, GetParam().subject);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Types, SubjectIsText, testing::Values(
    TextualSubject{"CommonNameAlone", {}, true, "CN=app"},
    TextualSubject{"Utf8String", {{NID_organizationName, V_ASN1_UTF8STRING, "\xc3\xbc"}}, true, "CN=app,O=\\C3\\BC"},
    TextualSubject{"PrintableString", {{NID_countryName, V_ASN1_PRINTABLESTRING, "DE"}}, true, "CN=app,C=DE"},
    TextualSubject{"Ia5String", {{NID_domainComponent, V_ASN1_IA5STRING, "example"}}, true, "CN=app,DC=example"},
    TextualSubject{"T61String", {{NID_organizationName, V_ASN1_T61STRING, "Acme"}}, true, "CN=app,O=Acme"},
    TextualSubject{"CommaInside", {{NID_organizationName, V_ASN1_UTF8STRING, "Acme, Inc."}}, true, "CN=app,O=Acme\\, Inc."},
    TextualSubject{"BmpString", {{NID_organizationName, V_ASN1_BMPSTRING, "\0A"s}}, false, "CN=app,O=A"},
    TextualSubject{"UniversalString", {{NID_organizationName, V_ASN1_UNIVERSALSTRING, "\0\0\0A"s}}, false, "CN=app,O=A"},
    TextualSubject{"NulInside", {{NID_organizationName, V_ASN1_UTF8STRING, "A\0B"s}}, false, "CN=app,O=A\\00B"},
    TextualSubject{"SecondOfTwo",
                   {{NID_organizationName, V_ASN1_UTF8STRING, "Acme"}, {NID_organizationalUnitName, V_ASN1_BMPSTRING, "\0A"s}},
                   false, "CN=app,OU=A,O=Acme"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// subject_is_text and the printed subject rely on this.
TEST(SubjectThatIsNotUtf8, IsNotReadByOpenSsl) {
  CertificateRequest request;
  request.common_names = {"J\xc3\xbcrgen"};
  const auto identity = self_signed(request);
  unsigned char* der = nullptr;
  const int size = i2d_X509(identity.certificate(), &der);
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  const auto read = [&] {
    const auto* place = reinterpret_cast<const unsigned char*>(bytes.data());
    return Certificate(d2i_X509(nullptr, &place, size)) != nullptr;
  };
  ASSERT_TRUE(read());
  // Changes the name in the issuer and in the subject.
  for (std::size_t at = 0; (at = bytes.find("\xc3\xbc", at)) != std::string::npos;)
    bytes.replace(at, 2, "\xff\xff");
  EXPECT_FALSE(read());
}

TEST(Holder, IsTheSubjectOrWhatElseStandsForIt) {
  const auto root = pgveil::test::authority("Test Root");
  CertificateRequest request;
  const auto holder = [&] { return holder_of(issued_by(root, request).certificate()); };
  EXPECT_TRUE(holder().starts_with("without a name and with the serial ")) << holder();
  request.alternative_names = {pgveil::test::email("a@example.com")};
  EXPECT_EQ(holder(), R"(for "a@example.com")");
  request.alternative_names.push_back(pgveil::test::uri("spiffe://prod/\n"));
  EXPECT_EQ(holder(), R"(for "spiffe://prod/\x0a")");
  request.alternative_names.push_back(pgveil::test::dns("db.example.com"));
  EXPECT_EQ(holder(), R"(for "db.example.com")");
  request.common_names = {"db"};
  EXPECT_EQ(holder(), R"(of "CN=db")");
}

// --- the rest ---

TEST(PeerCertificate, TellsItsValidity) {
  CertificateRequest request;
  request.not_before = std::chrono::hours(-1);
  request.not_after = std::chrono::hours(24);
  const auto before = std::time(nullptr);
  const auto values = values_of(self_signed(request).certificate());
  const auto after = std::time(nullptr);
  EXPECT_GE(values.not_before, before - 3'600);
  EXPECT_LE(values.not_before, after - 3'600);
  EXPECT_EQ(values.not_after - values.not_before, 25 * 3'600);
}

TEST(PeerCertificate, TellsItsSerialAsHexadecimal) {
  const auto identity = pgveil::test::self_signed({});
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(identity.certificate()), 0xABCDEF);
  EXPECT_EQ(values_of(identity.certificate()).serial, "abcdef");
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(identity.certificate()), 0);
  EXPECT_EQ(values_of(identity.certificate()).serial, "00");
  ASN1_INTEGER_set_int64(X509_get_serialNumber(identity.certificate()), -0xAB);
  EXPECT_EQ(values_of(identity.certificate()).serial, "-ab");
}

TEST(PeerCertificate, TellsItsFingerprint) {
  const auto identity = pgveil::test::self_signed({});
  unsigned char* der = nullptr;
  const int size = i2d_X509(identity.certificate(), &der);
  unsigned char digest[32];
  ASSERT_EQ(EVP_Digest(der, static_cast<std::size_t>(size), digest, nullptr, EVP_sha256(), nullptr), 1);
  OPENSSL_free(der);
  std::string text;
  for (const unsigned byte : digest) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", byte);
    text += pair;
  }
  EXPECT_EQ(values_of(identity.certificate()).sha256_fingerprint, text);
}

}  // namespace
}  // namespace pgveil::tls
