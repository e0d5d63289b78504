#include "tls/client_context.h"
#include "tls/server_context.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

struct MistakenClientContext {
  const char* name;
  std::function<void(const Site& site, ClientSettings& settings)> spoil;
  const char* setting;
  const char* message;  // a part of the message
};
void PrintTo(const MistakenClientContext& row, std::ostream* out) {
  *out << row.name;
}

// Valid settings with a client's certificate. Each row makes one of them invalid.
class ClientContextMistake : public testing::TestWithParam<MistakenClientContext> {
 protected:
  ClientContextMistake() {
    const Identity client = issued_by(site_.root, named("app"));
    settings_.sslcert = site_.folder.write("client.crt", client.certificate_pem());
    settings_.sslkey = site_.folder.write("client.key", client.key_pem());
  }

  Site site_;
  ClientSettings settings_ = site_.client_settings();
};

TEST_P(ClientContextMistake, IsTold) {
  ASSERT_TRUE(ClientContext::build(settings_)) << "the settings must be fine before they are spoiled";
  GetParam().spoil(site_, settings_);
  const auto built = ClientContext::build(settings_);
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U);
  EXPECT_EQ(built.error()[0].setting, GetParam().setting);
  EXPECT_NE(built.error()[0].message.find(GetParam().message), std::string::npos) << built.error()[0].message;
  EXPECT_NE(built.error()[0].hint, "");
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Trust, ClientContextMistake, testing::Values(
    MistakenClientContext{"RootIsNotSet", [](const Site&, ClientSettings& s) { s.sslrootcert.clear(); },
                          "sslrootcert", "is not set"},
    MistakenClientContext{"RootIsMissing", [](const Site&, ClientSettings& s) { s.sslrootcert = "/nonexistent/root.crt"; },
                          "sslrootcert", R"(root certificate file "/nonexistent/root.crt" does not exist)"},
    MistakenClientContext{"RootIsGarbage", [](const Site& site, ClientSettings& s) { s.sslrootcert = garbage(site); },
                          "sslrootcert", "cannot be loaded: it holds no PEM block of a certificate"},
    MistakenClientContext{"CrlIsMissing", [](const Site&, ClientSettings& s) { s.sslcrl = "/nonexistent/root.crl"; },
                          "sslcrl", "No such file or directory"},
    MistakenClientContext{"CrlIsGarbage", [](const Site& site, ClientSettings& s) { s.sslcrl = garbage(site); },
                          "sslcrl", "cannot be loaded"},
    // libpq would trust a certificate in a CRL file.
    MistakenClientContext{"CrlIsACertificate", [](const Site& site, ClientSettings& s) { s.sslcrl = site.folder.path("root.crt"); },
                          "sslcrl", "cannot be loaded"},
    MistakenClientContext{"CrlDirectoryIsMissing", [](const Site&, ClientSettings& s) { s.sslcrldir = "/nonexistent"; },
                          "sslcrldir", R"("/nonexistent")"},
    MistakenClientContext{"CrlDirectoryIsAFile", [](const Site& site, ClientSettings& s) { s.sslcrldir = garbage(site); },
                          "sslcrldir", "cannot be read: Not a directory"},
    MistakenClientContext{"CrlDirectoryIsNotHashed",
                          [](const Site& site, ClientSettings& s) {
                            site.folder.write("root.crl", crl_pem(site.root, {}));
                            s.sslcrldir = site.folder.path(".");
                          },
                          "sslcrldir", "has no CRL that is named by its hash"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(OwnCertificate, ClientContextMistake, testing::Values(
    MistakenClientContext{"KeyIsNotSet", [](const Site&, ClientSettings& s) { s.sslkey.clear(); }, "sslkey", "go together"},
    MistakenClientContext{"CertificateIsNotSet", [](const Site&, ClientSettings& s) { s.sslcert.clear(); },
                          "sslcert", "go together"},
    MistakenClientContext{"CertificateIsMissing", [](const Site&, ClientSettings& s) { s.sslcert = "/nonexistent/a.crt"; },
                          "sslcert", "No such file or directory"},
    MistakenClientContext{"CertificateIsGarbage", [](const Site& site, ClientSettings& s) { s.sslcert = garbage(site); },
                          "sslcert", "cannot be loaded: it holds no PEM block of a certificate"},
    MistakenClientContext{"KeyIsMissing", [](const Site&, ClientSettings& s) { s.sslkey = "/nonexistent/a.key"; },
                          "sslkey", "No such file or directory"},
    MistakenClientContext{"KeyIsGarbage", [](const Site& site, ClientSettings& s) { s.sslkey = garbage(site); },
                          "sslkey", "cannot be loaded"},
    MistakenClientContext{"KeyIsACertificate", [](const Site& site, ClientSettings& s) { s.sslkey = site.folder.write("k", site.root.certificate_pem()); },
                          "sslkey", "cannot be loaded"},
    MistakenClientContext{"KeyIsReadableByAll",
                          [](const Site&, ClientSettings& s) { ASSERT_EQ(::chmod(s.sslkey.c_str(), 0644), 0); },
                          "sslkey", "has group or world access"},
    MistakenClientContext{"KeyOfAnotherCertificate",
                          [](const Site& site, ClientSettings& s) { s.sslkey = site.folder.write("k", site.server.key_pem()); },
                          "sslkey", "does not match private key file"},
    MistakenClientContext{"KeyOfAnotherKind",
                          [](const Site& site, ClientSettings& s) {
                            s.sslkey = site.folder.write("k", self_signed(named("x", pgveil::test::KeyKind::rsa2048)).key_pem());
                          },
                          "sslkey", "does not match private key file"},
    MistakenClientContext{"KeyIsEncrypted",
                          [](const Site& site, ClientSettings& s) { s.sslkey = site.folder.write("k", site.server.key_pem("sesame")); },
                          "sslkey", "is encrypted, and no sslpassword is set"},
    MistakenClientContext{"PasswordIsWrong",
                          [](const Site& site, ClientSettings& s) {
                            s.sslkey = site.folder.write("k", site.server.key_pem("sesame"));
                            s.sslpassword = "poppy";
                          },
                          "sslkey", "is encrypted, and sslpassword does not open it"},
    MistakenClientContext{"PasswordIsLongerThanOpenSslTakes",
                          [](const Site& site, ClientSettings& s) {
                            s.sslkey = site.folder.write("k", site.server.key_pem("sesame"));
                            s.sslpassword = std::string(100'000, 'x');
                          },
                          "sslkey", "is encrypted, and sslpassword does not open it"},
    MistakenClientContext{"CertificateIsTooWeak",
                          [](const Site& site, ClientSettings& s) {
                            const Identity weak = issued_by(site.root, named("app", pgveil::test::KeyKind::rsa768));
                            s.sslcert = site.folder.write("c", weak.certificate_pem());
                            s.sslkey = site.folder.write("k", weak.key_pem());
                          },
                          "sslcert", "ee key too small"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ClientContext, TellsAllMistakesAtOnce) {
  ClientSettings settings;
  settings.sslrootcert = "/nonexistent/root.crt";
  settings.sslcert = "/nonexistent/client.crt";
  settings.sslkey = "/nonexistent/client.key";
  settings.sslcrl = "/nonexistent/root.crl";
  settings.sslcrldir = "/nonexistent/crls";
  const auto built = ClientContext::build(settings);
  ASSERT_FALSE(built);
  std::vector<std::string> at;
  for (const auto& mistake : built.error()) at.push_back(mistake.setting);
  EXPECT_EQ(at, (std::vector<std::string>{"sslrootcert", "sslcrl", "sslcrldir", "sslcert", "sslkey"}));
}

TEST(ClientContext, NeverTellsThePassword) {
  const Site site;
  auto settings = site.client_settings();
  settings.sslcert = site.folder.path("server.crt");
  settings.sslkey = site.folder.write("k", site.server.key_pem("sesame"));
  settings.sslpassword = "poppyseed";
  const auto built = ClientContext::build(settings);
  ASSERT_FALSE(built);
  EXPECT_EQ((built.error()[0].message + built.error()[0].hint).find("poppyseed"), std::string::npos);
}

TEST(ClientContext, TakesAnEncryptedKey) {
  const Site site;
  auto settings = site.client_settings();
  settings.sslcert = site.folder.path("server.crt");
  settings.sslkey = site.folder.write("k", site.server.key_pem("sesame"));
  settings.sslpassword = "sesame";
  EXPECT_TRUE(ClientContext::build(settings));
}

TEST(ClientContext, TakesAKeyInDer) {
  const Site site;
  auto settings = site.client_settings();
  settings.sslcert = site.folder.path("server.crt");
  settings.sslkey = site.folder.write("k", site.server.key_der());
  EXPECT_TRUE(ClientContext::build(settings));
}

// As with libpq, the server reports it.
TEST(ClientContext, TakesAnExpiredCertificateOfItsOwn) {
  const Site site;
  CertificateRequest request = named("app");
  request.not_after = std::chrono::minutes(-1);
  const Identity expired = issued_by(site.root, request);
  auto settings = site.client_settings();
  settings.sslcert = site.folder.write("c", expired.certificate_pem());
  settings.sslkey = site.folder.write("k", expired.key_pem());
  EXPECT_TRUE(ClientContext::build(settings));
}

TEST(ClientContext, TakesTheSystemsAuthorities) {
  ClientSettings settings;
  settings.sslrootcert = kSystemTrust;
  EXPECT_TRUE(ClientContext::build(settings));
}

// With sslrootcert=system libpq loads no CRLs, and reports nothing.
TEST(ClientContext, DoesNotForgetCrlsBesideTheSystemsAuthorities) {
  ClientSettings settings;
  settings.sslrootcert = kSystemTrust;
  settings.sslcrl = "/nonexistent/root.crl";
  EXPECT_FALSE(ClientContext::build(settings));
}

TEST(ServerContext, TellsAllMistakesAtOnce) {
  ServerSettings settings;
  settings.certificates = {{{}, "/nonexistent/server.crt", "/nonexistent/server.key"}};
  settings.ssl_ca_file = "/nonexistent/clients.crt";
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  std::vector<std::string> at;
  for (const auto& mistake : built.error()) at.push_back(mistake.setting);
  EXPECT_EQ(at, (std::vector<std::string>{"ssl_ca_file", "ssl_cert_file", "ssl_key_file"}));
}

TEST(ServerContext, RefusesAnEncryptedKey) {
  const Site site;
  auto settings = site.server_settings();
  const std::string key = site.folder.write("k", site.server.key_pem("sesame"));
  settings.certificates[0].ssl_key_file = key;
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error()[0].message,
            "private key file \"" + key + "\" is encrypted, and no ssl_passphrase_command is set");
}

TEST(VersionNames, AreReadWithoutCase) {
  EXPECT_EQ(version_from_name("TLSv1"), Version::tls1);
  EXPECT_EQ(version_from_name("TLSv1.1"), Version::tls1_1);
  EXPECT_EQ(version_from_name("tlsv1.2"), Version::tls1_2);
  EXPECT_EQ(version_from_name("TLSV1.3"), Version::tls1_3);
  for (const char* name : {"", "TLSv1.", "TLSv1.4", "TLSv1.33", "SSLv3", "1.3"})
    EXPECT_EQ(version_from_name(name), std::nullopt) << name;
}

TEST(VersionNames, AreReadAsTheyAreWritten) {
  for (const auto version : {Version::tls1, Version::tls1_1, Version::tls1_2, Version::tls1_3})
    EXPECT_EQ(version_from_name(name_of(version)), version);
}

}  // namespace
}  // namespace pgveil::tls::test
