// What a file holds, told from its bytes, and what is said where something else is needed. OpenSSL makes the files.
#include "tls/internal/file_kind.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <sys/stat.h>

#include <memory>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/tls/peers.h"
#include "tls/client_context.h"
#include "tls/internal/own_certificate.h"
#include "tls/server_context.h"

namespace pgveil::tls::test {
namespace {

using pgveil::test::crl_pem;
using pgveil::test::issued_by;
using pgveil::test::self_signed;

std::span<const unsigned char> bytes_of_text(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

// What `write` writes into a BIO.
template <class Write>
std::string written(const Write& write) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (write(bio.get()) != 1) throw std::runtime_error("OpenSSL cannot write");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

const Identity& identity() {
  static const Identity made = [] {
    CertificateRequest request;
    request.common_names = {"app"};
    return self_signed(request);
  }();
  return made;
}

std::string certificate_der() {
  return written([](BIO* bio) { return i2d_X509_bio(bio, identity().certificate()); });
}
std::string request(bool is_pem) {
  const std::unique_ptr<X509_REQ, Freed<X509_REQ_free>> made(
      X509_to_X509_REQ(identity().certificate(), identity().key(), EVP_sha256()));
  return written([&](BIO* bio) {
    return is_pem ? PEM_write_bio_X509_REQ(bio, made.get()) : i2d_X509_REQ_bio(bio, made.get());
  });
}
std::string crl_der() {
  const std::string pem = crl_pem(pgveil::test::authority("Root"), {});
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const std::unique_ptr<X509_CRL, Freed<X509_CRL_free>> crl(
      PEM_read_bio_X509_CRL(in.get(), nullptr, nullptr, nullptr));
  return written([&](BIO* bio) { return i2d_X509_CRL_bio(bio, crl.get()); });
}
std::string pkcs12() {
  const std::unique_ptr<PKCS12, Freed<PKCS12_free>> made(
      PKCS12_create("sesame", "app", identity().key(), identity().certificate(), nullptr, 0, 0, 0, 0, 0));
  return written([&](BIO* bio) { return i2d_PKCS12_bio(bio, made.get()); });
}
std::string pkcs7(bool is_pem) {
  const std::unique_ptr<PKCS7, Freed<PKCS7_free>> made(PKCS7_new());
  PKCS7_set_type(made.get(), NID_pkcs7_signed);
  PKCS7_content_new(made.get(), NID_pkcs7_data);
  PKCS7_add_certificate(made.get(), identity().certificate());
  return written([&](BIO* bio) {
    return is_pem ? PEM_write_bio_PKCS7(bio, made.get()) : i2d_PKCS7_bio(bio, made.get());
  });
}
std::string public_key(bool is_pem) {
  return written([&](BIO* bio) {
    return is_pem ? PEM_write_bio_PUBKEY(bio, identity().key()) : i2d_PUBKEY_bio(bio, identity().key());
  });
}
std::string encrypted_key_der() {
  return written([](BIO* bio) {
    return i2d_PKCS8PrivateKey_bio(bio, identity().key(), EVP_aes_256_cbc(), "sesame", 6, nullptr, nullptr);
  });
}
std::string labelled(const std::string& label) {
  return "-----BEGIN " + label + "-----\nAAAA\n-----END " + label + "-----\n";
}
// As `openssl ecparam -genkey` writes a key.
std::string key_after_parameters() {
  return "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" +
         identity().key_pem();
}
// A key that ssh-keygen made, without its private part: what follows is not read.
constexpr const char* kOpenSshEd25519 =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
    "QyNTUxOQAAACDaoaIiV6uE/OHtJV3rVn4phYkyF/fcTLnyUMGkuLopyAAAAJA=\n"
    "-----END OPENSSH PRIVATE KEY-----\n";
constexpr const char* kOpenSsh =
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

struct FileCase {
  const char* name;
  std::string (*bytes)();
  FileKind kind;
};
void PrintTo(const FileCase& row, std::ostream* out) {
  *out << row.name;
}
class KindOfFile : public testing::TestWithParam<FileCase> {};

TEST_P(KindOfFile, IsToldFromItsBytes) {
  const auto kind = kind_of(bytes_of_text(GetParam().bytes()));
  EXPECT_EQ(static_cast<int>(kind.content), static_cast<int>(GetParam().kind.content));
  EXPECT_EQ(kind.is_pem, GetParam().kind.is_pem);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Files, KindOfFile, testing::Values(
    FileCase{"Empty", [] { return std::string(); }, {Content::nothing, false}},
    FileCase{"Blank", [] { return std::string(" \n\r\n"); }, {Content::nothing, false}},
    FileCase{"Text", [] { return std::string("this is no PEM\n"); }, {Content::unknown, false}},
    FileCase{"OtherPem", [] { return std::string("-----BEGIN PGP MESSAGE-----\n"); }, {Content::unknown, true}},
    FileCase{"LabelWithoutEnd", [] { return std::string("-----BEGIN CERT"); }, {Content::unknown, true}},
    FileCase{"Certificate", [] { return identity().certificate_pem(); }, {Content::certificate, true}},
    FileCase{"CertificateAfterText", [] { return "subject=CN = app\n" + identity().certificate_pem(); }, {Content::certificate, true}},
    FileCase{"CertificateInDer", certificate_der, {Content::certificate, false}},
    FileCase{"Key", [] { return identity().key_pem(); }, {Content::private_key, true}},
    FileCase{"KeyAfterParameters", key_after_parameters, {Content::private_key, true}},
    FileCase{"KeyInDer", [] { return identity().key_der(); }, {Content::private_key, false}},
    FileCase{"EncryptedKey", [] { return identity().key_pem("sesame"); }, {Content::encrypted_key, true}},
    FileCase{"EncryptedKeyInDer", encrypted_key_der, {Content::encrypted_key, false}},
    FileCase{"TrustedCertificate", [] { return labelled("TRUSTED CERTIFICATE"); }, {Content::certificate, true}},
    FileCase{"OldCertificate", [] { return labelled("X509 CERTIFICATE"); }, {Content::certificate, true}},
    FileCase{"KeyOfRsa", [] { return labelled("RSA PRIVATE KEY"); }, {Content::private_key, true}},
    FileCase{"KeyOfEc", [] { return labelled("EC PRIVATE KEY"); }, {Content::private_key, true}},
    FileCase{"PublicKeyOfRsa", [] { return labelled("RSA PUBLIC KEY"); }, {Content::public_key, true}},
    FileCase{"NewRequest", [] { return labelled("NEW CERTIFICATE REQUEST"); }, {Content::certificate_request, true}},
    FileCase{"Cms", [] { return labelled("CMS"); }, {Content::pkcs7, true}},
    FileCase{"SignedPkcs7", [] { return labelled("PKCS #7 SIGNED DATA"); }, {Content::pkcs7, true}},
    FileCase{"OpenSshKey", [] { return std::string(kOpenSsh); }, {Content::openssh_key, true}},
    FileCase{"PublicKey", [] { return public_key(true); }, {Content::public_key, true}},
    FileCase{"PublicKeyInDer", [] { return public_key(false); }, {Content::public_key, false}},
    FileCase{"Request", [] { return request(true); }, {Content::certificate_request, true}},
    FileCase{"RequestInDer", [] { return request(false); }, {Content::certificate_request, false}},
    FileCase{"Crl", [] { return crl_pem(pgveil::test::authority("Root"), {}); }, {Content::crl, true}},
    FileCase{"CrlInDer", crl_der, {Content::crl, false}},
    FileCase{"Pkcs12", pkcs12, {Content::pkcs12, false}},
    FileCase{"Pkcs7", [] { return pkcs7(true); }, {Content::pkcs7, true}},
    FileCase{"Pkcs7InDer", [] { return pkcs7(false); }, {Content::pkcs7, false}}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(KindOfFile, QuotesAPathForTheShell) {
  const std::string archive = pkcs12();
  const auto hint = fault_of(bytes_of_text(archive), Wanted::authorities, "/my certs/a'b.p12", "").hint;
  EXPECT_NE(hint.find("-in '/my certs/a'\\''b.p12' -out"), std::string::npos) << hint;
}

// --- as they are reported ---

std::string replaced(std::string text, const std::string& part, const std::string& other) {
  const auto at = text.find(part);
  if (at == std::string::npos) throw std::runtime_error("there is no " + part);
  return text.replace(at, part.size(), other);
}
std::string damaged_certificate() {
  return replaced(identity().certificate_pem(), "MII", "M!I");
}
std::string certificate_without_end() {
  return replaced(identity().certificate_pem(), "-----END CERTIFICATE-----\n", "");
}
std::string damaged_key() {
  return replaced(identity().key_pem(), "-----\nM", "-----\n");
}

struct Wrong {
  const char* name;
  std::string (*bytes)();
  const char* setting;
  const char* message;  // both are parts; FILE stands for the path
  const char* hint;
};
void PrintTo(const Wrong& row, std::ostream* out) {
  *out << row.name;
}
class WrongFile : public testing::TestWithParam<Wrong> {};

std::string with_path(std::string text, const std::string& path) {
  for (std::size_t at = 0; (at = text.find("FILE", at)) != std::string::npos; at += path.size())
    text.replace(at, 4, path);
  return text;
}

TEST_P(WrongFile, IsReportedWithWhatItIsAndTheCommandThatHelps) {
  const Site site;
  auto settings = site.server_settings();
  settings.ssl_ca_file = site.client_settings().sslrootcert;
  const std::string path = site.folder.write("file", GetParam().bytes());
  const std::string setting = GetParam().setting;
  if (setting == "ssl_cert_file") settings.certificates[0].ssl_cert_file = path;
  if (setting == "ssl_key_file") settings.certificates[0].ssl_key_file = path;
  if (setting == "ssl_ca_file") settings.ssl_ca_file = path;
  if (setting == "ssl_crl_file") settings.ssl_crl_file = path;
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U);
  const auto& mistake = built.error()[0];
  EXPECT_EQ(mistake.setting, setting);
  EXPECT_NE(mistake.message.find(with_path(GetParam().message, path)), std::string::npos) << mistake.message;
  EXPECT_NE(mistake.hint.find(with_path(GetParam().hint, path)), std::string::npos) << mistake.hint;
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Certificate, WrongFile, testing::Values(
    Wrong{"Empty", [] { return std::string(); }, "ssl_cert_file", "\"FILE\" cannot be loaded: it is empty", "Name a file that holds certificates, as PEM."},
    Wrong{"Text", [] { return std::string("x\n"); }, "ssl_cert_file", "it holds no PEM block of a certificate", "Name a file"},
    Wrong{"Der", certificate_der, "ssl_cert_file", "it is in DER format, not PEM", "Run \"openssl x509 -inform DER -in FILE -out FILE.pem\", and use that file."},
    Wrong{"Pkcs12", pkcs12, "ssl_cert_file", "it holds a PKCS #12 archive, not a certificate", "Run \"openssl pkcs12 -nokeys -in FILE -out FILE.crt\" and \"openssl pkcs12 -nocerts -nodes -in FILE -out FILE.key\", and use \"FILE.crt\" as the certificate and \"FILE.key\" as its private key."},
    Wrong{"Pkcs7", [] { return pkcs7(true); }, "ssl_cert_file", "it holds PKCS #7, not a certificate", "\"openssl pkcs7 -print_certs -in FILE -out FILE.pem\""},
    Wrong{"Pkcs7InDer", [] { return pkcs7(false); }, "ssl_cert_file", "it holds PKCS #7, not a certificate", "\"openssl pkcs7 -inform DER -print_certs -in FILE -out FILE.pem\""},
    Wrong{"Request", [] { return request(true); }, "ssl_cert_file", "it holds a certificate signing request, not a certificate", "\"openssl req -noout -text -in FILE\""},
    Wrong{"Key", [] { return identity().key_pem(); }, "ssl_cert_file", "it holds a private key, not a certificate", "Name a file that holds certificates"},
    Wrong{"InvalidBase64", damaged_certificate, "ssl_cert_file", "cannot be loaded: the PEM block in line 1 is damaged (invalid base64)", "Get the file again, and copy it as a whole."},
    Wrong{"WithoutEnd", certificate_without_end, "ssl_cert_file", "the PEM block in line 1 is damaged (no END line)", "Get the file again"},
    Wrong{"Indented", [] { return "# a\n  " + identity().certificate_pem(); }, "ssl_cert_file", "the PEM block in line 2 is damaged (BEGIN is not at the start of the line)", "Get the file again"},
    Wrong{"InvalidBase64AfterKey", [] { return identity().key_pem() + damaged_certificate(); }, "ssl_cert_file", "is damaged (invalid base64)", "Get the file again"},
    Wrong{"Damaged", [] { return std::string("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"); }, "ssl_cert_file", "cannot be loaded: ", "\"openssl x509 -noout -in FILE\""}),
    [](const auto& row) { return row.param.name; });
INSTANTIATE_TEST_SUITE_P(Key, WrongFile, testing::Values(
    Wrong{"Empty", [] { return std::string("\n"); }, "ssl_key_file", "private key file \"FILE\" cannot be loaded: it is empty", "Name the file that holds the private key"},
    Wrong{"Certificate", [] { return identity().certificate_pem(); }, "ssl_key_file", "it holds a certificate, not a private key", "Name the file that holds the private key of the certificate, as PEM or DER."},
    Wrong{"Pkcs12", pkcs12, "ssl_key_file", "it holds a PKCS #12 archive, not a private key", "Run \"openssl pkcs12 -nokeys -in FILE -out FILE.crt\" and \"openssl pkcs12 -nocerts -nodes -in FILE -out FILE.key\", and use \"FILE.crt\" as the certificate and \"FILE.key\" as its private key."},
    Wrong{"OpenSsh", [] { return std::string(kOpenSsh); }, "ssl_key_file", "it holds a private key in the format of OpenSSH, which OpenSSL cannot read", "\"ssh-keygen -p -m PEM -f FILE\""},
    Wrong{"OpenSshEd25519", [] { return std::string(kOpenSshEd25519); }, "ssl_key_file", "it holds a private key in the format of OpenSSH, which OpenSSL cannot read", "ssh-keygen cannot convert an Ed25519 key. Make a new key with \"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new.key\", and have a certificate issued for it."},
    Wrong{"EncryptedDer", encrypted_key_der, "ssl_key_file", "it is encrypted and in DER format, not PEM", "Run \"openssl pkey -inform DER -aes256 -in FILE -out FILE.pem\", and use that file."},
    Wrong{"InvalidBase64", damaged_key, "ssl_key_file", "the PEM block in line 1 is damaged (invalid base64)", "Get the file again, and copy it as a whole."},
    Wrong{"PublicKey", [] { return public_key(true); }, "ssl_key_file", "it holds a public key, not a private key", "Name the file"},
    Wrong{"Damaged", [] { return std::string("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"); }, "ssl_key_file", "cannot be loaded: ", "\"openssl pkey -noout -in FILE\""}),
    [](const auto& row) { return row.param.name; });
INSTANTIATE_TEST_SUITE_P(Trust, WrongFile, testing::Values(
    Wrong{"AuthorityInDer", certificate_der, "ssl_ca_file", "it is in DER format, not PEM", "\"openssl x509 -inform DER -in FILE -out FILE.pem\""},
    Wrong{"AuthorityInPkcs12", pkcs12, "ssl_ca_file", "it holds a PKCS #12 archive, not a certificate", "Run \"openssl pkcs12 -nokeys -in FILE -out FILE.pem\", and use that file."},
    Wrong{"AuthorityWithInvalidBase64", damaged_certificate, "ssl_ca_file", "the PEM block in line 1 is damaged (invalid base64)", "Get the file again"},
    Wrong{"CrlWithInvalidBase64", [] { return replaced(crl_pem(pgveil::test::authority("Root"), {}), "-----\nM", "-----\n"); }, "ssl_crl_file", "the PEM block in line 1 is damaged (invalid base64)", "Get the file again"},
    Wrong{"KeyForAuthority", [] { return identity().key_pem(); }, "ssl_ca_file", "it holds a private key, not a certificate", "Name a file that holds certificates"},
    Wrong{"CrlInDer", crl_der, "ssl_crl_file", "it is in DER format, not PEM", "\"openssl crl -inform DER -in FILE -out FILE.pem\""},
    Wrong{"CertificateForCrl", [] { return identity().certificate_pem(); }, "ssl_crl_file", "it holds a certificate, not a CRL", "Name a file that holds CRLs, as PEM."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// The mode of a certificate does not matter, and would lead to the wrong correction.
TEST(WrongFile, OfACertificateAsTheKeyIsNotAboutItsMode) {
  const Site site;
  auto settings = site.server_settings();
  settings.certificates[0].ssl_key_file = site.folder.path("root.crt");
  ASSERT_EQ(::chmod(settings.certificates[0].ssl_key_file.c_str(), 0644), 0);
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  EXPECT_NE(built.error()[0].message.find("it holds a certificate"), std::string::npos)
      << built.error()[0].message;
}

TEST(WrongFile, OfKeyAndCertificateExchangedIsReportedOnce) {
  const Site site;
  auto settings = site.server_settings();
  std::swap(settings.certificates[0].ssl_cert_file, settings.certificates[0].ssl_key_file);
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U);
  EXPECT_NE(built.error()[0].message.find("holds a private key, and \""), std::string::npos)
      << built.error()[0].message;
  EXPECT_EQ(built.error()[0].hint,
            "Exchange the two files: ssl_cert_file is the certificate, and ssl_key_file is its private key.");
}

struct Chain {
  Site site;
  Identity intermediate = issued_by(site.root, [] {
    CertificateRequest request;
    request.common_names = {"Intermediate"};
    request.authority = true;
    return request;
  }());
  Identity leaf = issued_by(intermediate, [] {
    CertificateRequest request;
    request.common_names = {"leaf"};
    return request;
  }());

  [[nodiscard]] ServerSettings settings(const std::string& chain) const {
    auto settings = site.server_settings();
    settings.certificates = {
        {{}, site.folder.write("chain.crt", chain), site.folder.write("leaf.key", leaf.key_pem())}};
    return settings;
  }
};

TEST(ChainOrder, WithTheLeafLastIsReported) {
  const Chain chain;
  const auto built = ServerContext::build(
      chain.settings(chain.intermediate.certificate_pem() + chain.leaf.certificate_pem()));
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U);
  EXPECT_EQ(built.error()[0].setting, "ssl_cert_file");
  EXPECT_NE(built.error()[0].message.find("is in the wrong order: the certificate of \""), std::string::npos)
      << built.error()[0].message;
  EXPECT_NE(built.error()[0].message.find("is number 2"), std::string::npos) << built.error()[0].message;
  EXPECT_EQ(built.error()[0].hint,
            "Put that certificate first, then the one that issued it, and so on; leave out the root.");
}

std::string order_warning(const ServerSettings& settings) {
  const auto built = Site::build(settings);
  for (const auto& warning : built->warnings())
    if (warning.message.find("wrong order") != std::string::npos) return warning.message;
  return "";
}

TEST(ChainOrder, OfTheRootBeforeAnIntermediateIsWarnedOf) {
  const Chain chain;
  const std::string leaf = chain.leaf.certificate_pem();
  const std::string intermediate = chain.intermediate.certificate_pem();
  const std::string root = chain.site.root.certificate_pem();
  const std::string warning = order_warning(chain.settings(leaf + root + intermediate));
  EXPECT_NE(
      warning.find("is in the wrong order: the certificate after the one of \"CN=leaf\" is not the one that "
                   "issued it"),
      std::string::npos)
      << warning;
  EXPECT_EQ(order_warning(chain.settings(leaf + intermediate + root)), "");
  EXPECT_EQ(order_warning(chain.settings(leaf + intermediate)), "");
  // An intermediate is missing: another fault than the order.
  EXPECT_EQ(order_warning(chain.settings(leaf + root)), "");
}

TEST(ChainOrder, IsCheckedAfterTheFirstIntermediateToo) {
  const Chain chain;
  CertificateRequest request;
  request.common_names = {"Lower"};
  request.authority = true;
  const Identity lower = issued_by(chain.intermediate, request);
  request.common_names = {"lowest"};
  request.authority = false;
  const Identity lowest = issued_by(lower, request);
  auto settings = chain.site.server_settings();
  const auto warning_of = [&](const std::string& file) {
    settings.certificates = {{{},
                              chain.site.folder.write("lowest.crt", file),
                              chain.site.folder.write("lowest.key", lowest.key_pem())}};
    return order_warning(settings);
  };
  const std::string begin = lowest.certificate_pem() + lower.certificate_pem();
  const std::string intermediate = chain.intermediate.certificate_pem();
  const std::string root = chain.site.root.certificate_pem();
  const std::string warning = warning_of(begin + root + intermediate);
  EXPECT_NE(warning.find("the certificate after the one of \"CN=Lower\" is not the one"), std::string::npos)
      << warning;
  EXPECT_EQ(warning_of(begin + intermediate + root), "");
}

TEST(WeakKey, IsReportedWithTheSizeThatIsNeeded) {
  const Site site;
  CertificateRequest request;
  request.common_names = {"weak"};
  request.key = pgveil::test::KeyKind::rsa768;
  const Identity weak = issued_by(site.root, request);
  auto settings = site.server_settings();
  settings.certificates = {
      {{}, site.folder.write("w.crt", weak.certificate_pem()), site.folder.write("w.key", weak.key_pem())}};
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  EXPECT_NE(built.error()[0].message.find("cannot be used: ee key too small for security level 2 of OpenSSL"),
            std::string::npos)
      << built.error()[0].message;
  EXPECT_EQ(
      built.error()[0].hint,
      "Have the certificate issued for a key of P-256, or of RSA with 2048 bits or more, and signed with "
      "SHA-256: \"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out new.key\" makes such a "
      "key.");
}

// A distribution may set a higher level (openssl.cnf).
TEST(WeakKey, IsReportedWithWhatTheHigherLevelsAskFor) {
  struct Row {
    int level;
    const char* hint;
  };
  for (const auto& [level, hint] :
       {Row{3, "a key of P-256, or of RSA with 3072 bits or more, and signed with SHA-256: "},
        Row{4, "a key of P-384, or of RSA with 7680 bits or more, and signed with SHA-384: "},
        Row{5, "a key of P-521, or of RSA with 15360 bits or more, and signed with SHA-512: "}}) {
    const Site site;
    CertificateRequest request;
    request.common_names = {"weak"};
    request.key = pgveil::test::KeyKind::rsa768;
    const Identity weak = issued_by(site.root, request);
    const std::string certificate = site.folder.write("w.crt", weak.certificate_pem());
    const std::string key = site.folder.write("w.key", weak.key_pem());
    const SslContext context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_security_level(context.get(), level);
    std::vector<SettingError> errors;
    const CertificateFiles files{"ssl_cert_file",     certificate,
                                 "ssl_key_file",      key,
                                 KeyFileRule::server, {Passphrase::Source::setting, {}, {}}};
    EXPECT_FALSE(load_own_certificate(context.get(), files, errors));
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_NE(errors[0].hint.find(hint), std::string::npos) << errors[0].hint;
  }
}

}  // namespace
}  // namespace pgveil::tls::test
