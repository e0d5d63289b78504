// Certificates and CRLs that can be loaded, but with which connections fail: contexts are built, with
// warnings.
#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>

#include "tests/tls/peers.h"
#include "tls/client_context.h"
#include "tls/server_context.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;
using pgveil::test::authority;
using pgveil::test::crl_file_name;
using pgveil::test::crl_pem;
using pgveil::test::issued_by;
using pgveil::test::self_signed;

struct DoubtfulScene {
  Site site;
  ClientSettings client = site.client_settings();
  ServerSettings server = site.server_settings();

  DoubtfulScene() { server.ssl_ca_file = client.sslrootcert; }

  void trust(const std::string& pem) {
    client.sslrootcert = server.ssl_ca_file = site.folder.write("trust.crt", pem);
  }
  void crls(const std::string& pem) {
    client.sslcrl = server.ssl_crl_file = site.folder.write("trust.crl", pem);
  }
  void ciphers(const char* list) { client.ssl_ciphers = server.ssl_ciphers = list; }
  void crl_directory() {
    client.sslcrldir = server.ssl_crl_dir = site.folder.path("crls");
    std::filesystem::create_directory(client.sslcrldir);
  }
  // Sets our own certificate, with an extended key usage.
  void own(const std::string& usage) {
    CertificateRequest request;
    request.common_names = {"own"};
    request.extended_key_usage = usage;
    const Identity own = issued_by(site.root, request);
    client.sslcert = site.folder.write("own.crt", own.certificate_pem());
    client.sslkey = site.folder.write("own.key", own.key_pem());
    server.certificates = {{{}, client.sslcert, client.sslkey}};
  }
};

CertificateRequest authority_until(const std::string& name, std::chrono::seconds not_after = 24h) {
  CertificateRequest request = named(name);
  request.authority = true;
  request.not_after = not_after;
  return request;
}

struct Doubtful {
  const char* name;
  void (*change)(DoubtfulScene&);
  const char* client_setting;  // the setting in the client's warning; null: none
  const char* server_setting;
  const char* message;  // a part of the message
};
void PrintTo(const Doubtful& row, std::ostream* out) {
  *out << row.name;
}

class DoubtfulFile : public testing::TestWithParam<Doubtful> {
 protected:
  // Ignores the warning that our own certificate expires soon.
  static void expect(const std::vector<SettingError>& warnings, const char* setting) {
    std::vector<SettingError> others;
    for (const auto& warning : warnings)
      if (warning.message.find(" expires on ") == std::string::npos) others.push_back(warning);
    ASSERT_EQ(others.size(), setting == nullptr ? 0U : 1U) << (others.empty() ? "" : others.front().message);
    if (setting == nullptr) return;
    EXPECT_EQ(others[0].setting, setting);
    EXPECT_NE(others[0].message.find(GetParam().message), std::string::npos) << others[0].message;
    EXPECT_NE(others[0].hint, "");
  }
};

TEST_P(DoubtfulFile, IsWarnedOfByAClient) {
  DoubtfulScene scene;
  GetParam().change(scene);
  expect(Site::build(scene.client)->warnings(), GetParam().client_setting);
}

TEST_P(DoubtfulFile, IsWarnedOfByAServer) {
  DoubtfulScene scene;
  GetParam().change(scene);
  expect(Site::build(scene.server)->warnings(), GetParam().server_setting);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Doubtful, DoubtfulFile,
    testing::Values(
        Doubtful{"Nothing", [](DoubtfulScene&) {}, nullptr, nullptr, ""},
        Doubtful{"CrlOfTheAuthority", [](DoubtfulScene& s) { s.crls(crl_pem(s.site.root, {})); }, nullptr, nullptr, ""},
        Doubtful{"CrlOfTheAuthorityInADirectory",
                 [](DoubtfulScene& s) {
                   s.crl_directory();
                   s.site.folder.write("crls/" + crl_file_name(s.site.root), crl_pem(s.site.root, {}));
                 }, nullptr, nullptr, ""},
        Doubtful{"CrlsOfTheAuthorityAndOfAnother",
                 [](DoubtfulScene& s) { s.crls(crl_pem(authority("Other"), {}) + crl_pem(s.site.root, {})); },
                 nullptr, nullptr, ""},
        Doubtful{"CrlThatHasExpired", [](DoubtfulScene& s) { s.crls(crl_pem(s.site.root, {}, -1min)); },
                 "sslcrl", "ssl_crl_file", R"(the CRL of "CN=Test Root" in )"},
        Doubtful{"CrlThatHasExpiredInADirectory",
                 [](DoubtfulScene& s) {
                   s.crl_directory();
                   s.site.folder.write("crls/" + crl_file_name(s.site.root), crl_pem(s.site.root, {}, -1min));
                 }, "sslcrldir", "ssl_crl_dir", R"(the CRL of "CN=Test Root" in )"},
        Doubtful{"CrlOfAnotherIssuer", [](DoubtfulScene& s) { s.crls(crl_pem(authority("Other"), {})); },
                 "sslcrl", "ssl_crl_file", R"(no CRL of the authority "CN=Test Root" is in )"},
        Doubtful{"CrlOfAnotherIssuerInADirectory",
                 [](DoubtfulScene& s) {
                   const Identity other = authority("Other");
                   s.crl_directory();
                   s.site.folder.write("crls/" + crl_file_name(other), crl_pem(other, {}));
                 }, "sslcrldir", "ssl_crl_dir", R"(no CRL of the authority "CN=Test Root" is in )"},
        Doubtful{"CrlOfAnotherIssuerOfTheSameName", [](DoubtfulScene& s) { s.crls(crl_pem(authority("Test Root"), {})); },
                 "sslcrl", "ssl_crl_file", R"(no CRL with a valid signature of the authority "CN=Test Root" is in )"},
        Doubtful{"CrlOfOneOfTwoAuthorities",
                 [](DoubtfulScene& s) {
                   s.trust(s.site.root.certificate_pem() + authority("Second").certificate_pem());
                   s.crls(crl_pem(s.site.root, {}));
                 }, "sslcrl", "ssl_crl_file", R"(no CRL of the authority "CN=Second" is in )"},
        Doubtful{"LeafForAnAuthority", [](DoubtfulScene& s) { s.trust(s.site.root.certificate_pem() + s.site.server.certificate_pem()); },
                 "sslrootcert", "ssl_ca_file", "is not an authority, and is not trusted"},
        Doubtful{"SelfSignedLeaf", [](DoubtfulScene& s) { s.trust(self_signed(named("alone")).certificate_pem()); }, nullptr, nullptr, ""},
        Doubtful{"IntermediateAlone",
                 [](DoubtfulScene& s) { s.trust(issued_by(s.site.root, authority_until("Test Intermediate")).certificate_pem()); },
                 "sslrootcert", "ssl_ca_file", "holds no root authority: every certificate is refused"},
        Doubtful{"AuthorityThatHasExpired",
                 [](DoubtfulScene& s) { s.trust(s.site.root.certificate_pem() + self_signed(authority_until("Old", -1min)).certificate_pem()); },
                 "sslrootcert", "ssl_ca_file", R"(of "CN=Old" in )"},
        Doubtful{"OwnCertificateForServersOnly", [](DoubtfulScene& s) { s.own("serverAuth"); }, "sslcert", nullptr,
                 "is not for TLS clients, by its extended key usage or key usage"},
        Doubtful{"OwnCertificateForClientsOnly", [](DoubtfulScene& s) { s.own("clientAuth"); }, nullptr, "ssl_cert_file",
                 "is not for TLS servers, by its extended key usage or key usage"},
        Doubtful{"OwnCertificateForBoth", [](DoubtfulScene& s) { s.own("clientAuth,serverAuth"); }, nullptr, nullptr, ""},
        Doubtful{"OldVersion",
                 [](DoubtfulScene& s) {
                   s.client.ssl_min_protocol_version = Version::tls1_1;
                   s.server.ssl_min_protocol_version = Version::tls1_1;
                 }, "ssl_min_protocol_version", "ssl_min_protocol_version", "TLSv1.1 is no longer secure (RFC 8996)"},
        Doubtful{"CipherWithoutForwardSecrecy", [](DoubtfulScene& s) { s.ciphers("AES128-GCM-SHA256"); }, "ssl_ciphers", "ssl_ciphers",
                 R"(allows "AES128-GCM-SHA256", without)"},
        Doubtful{"CiphersWithoutAuthenticatedEncryption", [](DoubtfulScene& s) { s.ciphers("ECDHE+AESGCM:ECDHE+AES+SHA"); },
                 "ssl_ciphers", "ssl_ciphers", "without forward secrecy or authenticated encryption"},
        Doubtful{"OtherCiphersAsStrong", [](DoubtfulScene& s) { s.ciphers("ECDHE+AESGCM:DHE+AESGCM"); }, nullptr, nullptr, ""}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(DoubtfulFiles, OfALeafAloneAreWarnedOfTwice) {
  DoubtfulScene scene;
  scene.trust(scene.site.server.certificate_pem());
  const auto warnings = Site::build(scene.client)->warnings();
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_NE(warnings[0].message.find("is not an authority"), std::string::npos) << warnings[0].message;
  EXPECT_NE(warnings[1].message.find("holds no root authority"), std::string::npos) << warnings[1].message;
}

TEST(DoubtfulFiles, OfARoleAreWarnedOf) {
  DoubtfulScene scene;
  scene.own("serverAuth");
  const auto role =
      Site::build(scene.site.client_settings())->with_certificate(scene.client.sslcert, scene.client.sslkey);
  ASSERT_TRUE(role.has_value());
  ASSERT_FALSE((*role)->warnings().empty());
  EXPECT_NE((*role)->warnings().back().message.find("is not for TLS clients"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::tls::test
