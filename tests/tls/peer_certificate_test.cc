#include "tls/peer_certificate.h"

#include <gtest/gtest.h>

#include <ctime>

#include "tests/support/certificates.h"
#include "tls/certificate_values.h"

namespace pgveil::tls {
namespace {

using namespace std::string_literals;
using pgveil::test::CertificateRequest;
using Kind = CertificateNames::Kind;

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

// What PostgreSQL's clientname=DN compares (be-secure-openssl.c: be_tls_open_server).
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
  EXPECT_EQ(names.alternative_names[0].kind, Kind::ip_address);
  EXPECT_EQ(names.alternative_names[0].value, "\x7f\0\0\x01"s);
  EXPECT_EQ(names.alternative_names[1].kind, Kind::dns_name);
  EXPECT_EQ(names.alternative_names[1].value, "a\0b"s);
  EXPECT_EQ(names.alternative_names[2].value, "\x01");
}

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
