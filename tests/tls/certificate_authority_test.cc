#include "tls/certificate_authority.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include <ctime>
#include <memory>
#include <ostream>
#include <stdexcept>

#include "tests/support/certificates.h"
#include "tls/internal/certificate_values.h"

namespace pgveil::tls {
namespace {

constexpr std::int64_t kDay = 86'400;

Validity days(std::int64_t count) {
  const std::int64_t now = std::time(nullptr);
  return {now - 3'600, now + count * kDay};
}

NewCertificate for_server(const std::string& host) {
  NewCertificate certificate;
  certificate.role = NewCertificate::Role::server;
  certificate.common_name = host;
  certificate.dns_names = {host};
  return certificate;
}
NewCertificate for_client(const std::string& user) {
  NewCertificate certificate;
  certificate.role = NewCertificate::Role::client;
  certificate.common_name = user;
  return certificate;
}

Bio bio_of(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}
Certificate read_certificate(const std::string& pem) {
  return Certificate(PEM_read_bio_X509(bio_of(pem).get(), nullptr, nullptr, nullptr));
}
PrivateKey read_key(const std::string& pem) {
  return PrivateKey(PEM_read_bio_PrivateKey(bio_of(pem).get(), nullptr, nullptr, nullptr));
}
bool is_critical(X509* certificate, int nid) {
  const int place = X509_get_ext_by_NID(certificate, nid, -1);
  return place >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, place)) == 1;
}

class AnAuthority : public testing::Test {
 protected:
  void write(const NewIdentity& identity) {
    root_pem_ = identity.certificate;
    certificate_file_ = folder_.write("ca.crt", identity.certificate);
    key_file_ = folder_.write("ca.key", identity.key);
  }
  [[nodiscard]] CertificateAuthority load() const {
    auto authority = CertificateAuthority::load(certificate_file_, key_file_);
    if (!authority) throw std::runtime_error(authority.error().message);
    return *std::move(authority);
  }
  [[nodiscard]] CertificateAuthority make(NewKey key = NewKey::p256) {
    write(new_authority("root", key, days(10)));
    return load();
  }
  [[nodiscard]] std::string message_of_load() const {
    const auto authority = CertificateAuthority::load(certificate_file_, key_file_);
    return authority ? "" : authority.error().message;
  }

  pgveil::test::TemporaryFolder folder_;
  std::string certificate_file_, key_file_, root_pem_;
};

struct KeyCase {
  const char* name;
  NewKey key;
  const char* type;
  int bits;
};
void PrintTo(const KeyCase& kind, std::ostream* out) {
  *out << kind.name;
}
class AnAuthorityThatMakesKeys : public AnAuthority, public testing::WithParamInterface<KeyCase> {};

TEST_P(AnAuthorityThatMakesKeys, IssuesACertificateForEachOfThem) {
  ASSERT_EQ(new_key_of(GetParam().name), GetParam().key);
  const auto authority = make();
  const auto issued = authority.issue(for_server("db01"), GetParam().key, days(1));
  const auto leaf = read_certificate(issued.certificate);
  const auto key = read_key(issued.key);
  ASSERT_TRUE(leaf && key);
  EXPECT_EQ(X509_check_private_key(leaf.get(), key.get()), 1);
  EXPECT_EQ(EVP_PKEY_is_a(key.get(), GetParam().type), 1);
  EXPECT_EQ(EVP_PKEY_get_bits(key.get()), GetParam().bits);
  EXPECT_TRUE(authority.has_issued(issued.certificate));
  const bool encrypts = std::string_view(GetParam().type) == "RSA";
  EXPECT_EQ((X509_get_key_usage(leaf.get()) & KU_KEY_ENCIPHERMENT) != 0, encrypts);
}

INSTANTIATE_TEST_SUITE_P(Keys, AnAuthorityThatMakesKeys,
                         testing::Values(KeyCase{"p256", NewKey::p256, "EC", 256},
                                         KeyCase{"rsa:2048", NewKey::rsa2048, "RSA", 2048},
                                         KeyCase{"rsa:3072", NewKey::rsa3072, "RSA", 3072},
                                         KeyCase{"rsa:4096", NewKey::rsa4096, "RSA", 4096},
                                         KeyCase{"ed25519", NewKey::ed25519, "ED25519", 256}));

TEST_F(AnAuthority, SignsWithEachKindOfKey) {
  for (const NewKey key : {NewKey::p256, NewKey::rsa2048, NewKey::ed25519}) {
    const auto authority = make(key);
    EXPECT_TRUE(authority.has_issued(root_pem_));
    EXPECT_TRUE(authority.has_issued(authority.issue(for_server("db01"), NewKey::p256, days(1)).certificate));
    EXPECT_EQ(authority.gives_channel_binding(), key != NewKey::ed25519);
  }
}

TEST(NewKeys, HaveNoOtherNames) {
  for (const char* name : {"", "rsa", "rsa:1024", "P256", "p256 "}) EXPECT_FALSE(new_key_of(name)) << name;
}

TEST_F(AnAuthority, PutsEachNameUnderItsOwnType) {
  const auto issued = make().issue({.role = NewCertificate::Role::client,
                                    .common_name = "björn",
                                    .dns_names = {"app.example.com"},
                                    .ip_addresses = {std::string("\xc0\x00\x02\x01", 4)},
                                    .uris = {"spiffe://prod/app"},
                                    .emails = {"app@example.com"}},
                                   NewKey::p256, days(1));
  const auto values = values_of(read_certificate(issued.certificate).get());
  EXPECT_EQ(values.common_names, std::vector<std::string>{"björn"});
  EXPECT_TRUE(values.subject_is_text);
  EXPECT_EQ(values.dns_names, std::vector<std::string>{"app.example.com"});
  EXPECT_EQ(values.uris, std::vector<std::string>{"spiffe://prod/app"});
  EXPECT_EQ(values.emails, std::vector<std::string>{"app@example.com"});
  EXPECT_EQ(describe(values.names), "\"app.example.com\", 192.0.2.1");
}

TEST_F(AnAuthority, RepeatsTheSubjectOfAClientThatHasNoOtherName) {
  const auto authority = make();
  const auto issued = authority.issue(for_client("app"), NewKey::p256, days(1));
  const auto certificate = read_certificate(issued.certificate);
  const std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  ASSERT_EQ(sk_GENERAL_NAME_num(names.get()), 1);
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  ASSERT_EQ(name->type, GEN_DIRNAME);
  EXPECT_EQ(name_text(name->d.directoryName), "CN=app");
  const auto values = values_of(certificate.get());
  EXPECT_TRUE(values.dns_names.empty() && values.uris.empty() && values.emails.empty());
}

TEST_F(AnAuthority, MarksTheNamesOfAnEmptySubjectAsCritical) {
  const auto authority = make();
  for (const char* common_name : {"", "db01"}) {
    NewCertificate server = for_server("db01");
    server.common_name = common_name;
    const auto issued = authority.issue(server, NewKey::p256, days(1));
    const auto certificate = read_certificate(issued.certificate);
    EXPECT_EQ(is_critical(certificate.get(), NID_subject_alt_name), std::string_view(common_name).empty());
    EXPECT_TRUE(is_critical(certificate.get(), NID_basic_constraints));
    EXPECT_TRUE(is_critical(certificate.get(), NID_key_usage));
  }
}

TEST_F(AnAuthority, GivesEachCertificateASerialOfItsOwn) {
  const auto authority = make();
  const NewCertificate client = for_client("app");
  const auto first =
      values_of(read_certificate(authority.issue(client, NewKey::p256, days(1)).certificate).get());
  const auto second =
      values_of(read_certificate(authority.issue(client, NewKey::p256, days(1)).certificate).get());
  EXPECT_EQ(first.serial.size(), 32U);
  EXPECT_NE(first.serial, second.serial);
}

TEST_F(AnAuthority, RenewsWithAnotherSerialAndAnotherEndAndNothingElse) {
  const auto authority = make();
  NewCertificate client = for_client("app");
  client.uris = {"spiffe://prod/app"};
  const auto issued = authority.issue(client, NewKey::p256, days(1));
  const Validity validity = days(5);
  const std::string renewed = authority.renew(issued.certificate, validity);
  const auto before = values_of(read_certificate(issued.certificate).get());
  const auto after = values_of(read_certificate(renewed).get());
  EXPECT_TRUE(authority.has_issued(renewed));
  EXPECT_EQ(X509_check_private_key(read_certificate(renewed).get(), read_key(issued.key).get()), 1);
  EXPECT_NE(after.serial, before.serial);
  EXPECT_EQ(after.not_after, validity.ends);
  EXPECT_EQ(after.subject, before.subject);
  EXPECT_EQ(after.uris, before.uris);
}

TEST_F(AnAuthority, KnowsWhatItHasIssued) {
  const auto stranger = new_authority("root", NewKey::p256, days(1));  // of the same name
  const auto authority = make();
  EXPECT_FALSE(authority.has_issued(stranger.certificate));
}

TEST_F(AnAuthority, WritesYearsAfter2049) {
  write(new_authority("root", NewKey::p256, days(36'500)));
  EXPECT_NEAR(static_cast<double>(load().certificate().not_after - std::time(nullptr)), 36'500.0 * kDay, 60);
}

TEST_F(AnAuthority, SignsCrls) {
  const auto authority = make();
  const std::vector<RevokedSerial> revoked{{"7f00", 1'700'000'000}, {"0a", 1'700'000'001}};
  const std::string pem = authority.crl(revoked, 7, days(3));
  const std::unique_ptr<X509_CRL, Freed<X509_CRL_free>> crl(
      PEM_read_bio_X509_CRL(bio_of(pem).get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(crl);
  const auto root = read_certificate(root_pem_);
  EXPECT_EQ(X509_CRL_verify(crl.get(), X509_get0_pubkey(root.get())), 1);
  EXPECT_EQ(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl.get())), 2);
  EXPECT_EQ(name_text(X509_CRL_get_issuer(crl.get())), "CN=root");
}

TEST_F(AnAuthority, IsNotLoadedWithAKeyOfAnother) {
  const auto other = new_authority("other", NewKey::p256, days(1));
  write(new_authority("root", NewKey::p256, days(1)));
  key_file_ = folder_.write("other.key", other.key);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "does not match private key file", message_of_load());
}

TEST_F(AnAuthority, IsNotLoadedFromACertificateThatMaySignNothing) {
  pgveil::test::CertificateRequest request;
  request.common_names = {"leaf"};
  const auto leaf = pgveil::test::self_signed(request);
  certificate_file_ = folder_.write("leaf.crt", leaf.certificate_pem());
  key_file_ = folder_.write("leaf.key", leaf.key_pem());
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "may not sign certificates and CRLs", message_of_load());
}

TEST_F(AnAuthority, IsNotLoadedFromACertificateWithoutTheIdentifierOfItsKey) {
  const auto root = pgveil::test::authority("root");
  certificate_file_ = folder_.write("ca.crt", root.certificate_pem());
  key_file_ = folder_.write("ca.key", root.key_pem());
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "has no subject key identifier", message_of_load());
}

TEST_F(AnAuthority, IsNotLoadedWithAKeyThatOthersCanRead) {
  write(new_authority("root", NewKey::p256, days(1)));
  ASSERT_EQ(::chmod(key_file_.c_str(), 0644), 0);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "has group or world access", message_of_load());
}

TEST_F(AnAuthority, IsNotLoadedWithAnEncryptedKey) {
  const auto root = pgveil::test::authority("root");
  certificate_file_ = folder_.write("ca.crt", root.certificate_pem());
  key_file_ = folder_.write("ca.key", root.key_pem("secret"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "is encrypted", message_of_load());
}

}  // namespace
}  // namespace pgveil::tls
