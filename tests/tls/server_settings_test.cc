// Each setting of the server: its effect on a client, and the report of a mistake in it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;
using pgveil::test::KeyKind;

// --- the results of handshakes ---

struct ServerEffect {
  const char* name;
  std::function<void(ServerSettings&)> set;
  std::function<void(SSL_CTX*)> client;
  std::function<std::string(const Established&)> of;
  const char* agreed;  // empty: the handshake must fail
};
void PrintTo(const ServerEffect& row, std::ostream* out) {
  *out << row.name;
}

class ServerSetting : public testing::TestWithParam<ServerEffect> {};

TEST_P(ServerSetting, HasItsEffect) {
  const Site site;
  auto settings = site.server_settings();
  GetParam().set(settings);
  const auto client = openssl_client();
  GetParam().client(client.get());
  const auto accepted = accept(Site::build(settings), client.get());
  if (*GetParam().agreed == '\0') {
    EXPECT_EQ(accepted.status, Engine::Status::failed);
    EXPECT_NE(accepted.client->error(), "") << "the client must be told";
    return;
  }
  ASSERT_EQ(accepted.status, Engine::Status::ready) << accepted.server->failure().reason;
  EXPECT_EQ(GetParam().of(accepted.server->agreed()), GetParam().agreed);
}

void no_change(ServerSettings& /*settings*/) {}
void newest_client(SSL_CTX* /*client*/) {}
void tls12_client(SSL_CTX* client) {
  SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
}
void tls11(SSL_CTX* client) {
  SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(client, TLS1_1_VERSION);
}
void tls13_alone(SSL_CTX* client) {
  SSL_CTX_set_min_proto_version(client, TLS1_3_VERSION);
}
std::function<void(SSL_CTX*)> tls12_client_with(const char* ciphers) {
  return [ciphers](SSL_CTX* client) {
    tls12_client(client);
    SSL_CTX_set_cipher_list(client, ciphers);
  };
}
std::function<void(SSL_CTX*)> groups_of_client(const char* list) {
  return [list](SSL_CTX* client) { SSL_CTX_set1_groups_list(client, list); };
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Versions, ServerSetting, testing::Values(
    ServerEffect{"NewestByDefault", no_change, newest_client, version_of, "TLSv1.3"},
    ServerEffect{"Tls12ByDefault", no_change, tls12_client, version_of, "TLSv1.2"},
    ServerEffect{"NotOlderByDefault", no_change, tls11, version_of, ""},
    ServerEffect{"MinimumExcludesTls12",
                 [](ServerSettings& s) { s.ssl_min_protocol_version = Version::tls1_3; }, tls12_client, version_of, ""},
    // OpenSSL 3.0 supports these only at security level 0.
    ServerEffect{"MinimumAdmitsTls11",
                 [](ServerSettings& s) {
                   s.ssl_min_protocol_version = Version::tls1_1;
                   s.ssl_ciphers = "ECDHE+AES:!aNULL:@SECLEVEL=0";
                 },
                 tls11, version_of, "TLSv1.1"},
    ServerEffect{"MaximumIsAgreed",
                 [](ServerSettings& s) { s.ssl_max_protocol_version = Version::tls1_2; }, newest_client, version_of, "TLSv1.2"},
    ServerEffect{"MaximumExcludesTls13",
                 [](ServerSettings& s) { s.ssl_max_protocol_version = Version::tls1_2; }, tls13_alone, version_of, ""}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Ciphers, ServerSetting, testing::Values(
    ServerEffect{"ForwardSecrecyAndAeadByDefault", no_change, tls12_client_with("ECDHE-ECDSA-CHACHA20-POLY1305"), cipher_of,
                 "ECDHE-ECDSA-CHACHA20-POLY1305"},
    ServerEffect{"NoCbcByDefault", no_change, tls12_client_with("ECDHE-ECDSA-AES256-SHA384"), cipher_of, ""},
    ServerEffect{"DefaultWhereItIsEmpty", [](ServerSettings& s) { s.ssl_ciphers = ""; },
                 tls12_client_with("ECDHE-ECDSA-AES256-SHA384"), cipher_of, ""},
    ServerEffect{"TheOneThatIsSet", [](ServerSettings& s) { s.ssl_ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"; },
                 tls12_client, cipher_of, "ECDHE-ECDSA-AES128-GCM-SHA256"},
    ServerEffect{"NotOneThatIsNotSet", [](ServerSettings& s) { s.ssl_ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"; },
                 tls12_client_with("ECDHE-ECDSA-AES256-GCM-SHA384"), cipher_of, ""},
    ServerEffect{"TheOneOfTls13ThatIsSet", [](ServerSettings& s) { s.ssl_tls13_ciphers = "TLS_CHACHA20_POLY1305_SHA256"; },
                 newest_client, cipher_of, "TLS_CHACHA20_POLY1305_SHA256"},
    ServerEffect{"NotOneOfTls13ThatIsNotSet", [](ServerSettings& s) { s.ssl_tls13_ciphers = "TLS_CHACHA20_POLY1305_SHA256"; },
                 [](SSL_CTX* client) {
                   tls13_alone(client);
                   SSL_CTX_set_ciphersuites(client, "TLS_AES_256_GCM_SHA384");
                 },
                 cipher_of, ""},
    ServerEffect{"OursFirst", [](ServerSettings& s) { s.ssl_ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"; },
                 tls12_client_with("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"), cipher_of,
                 "ECDHE-ECDSA-AES256-GCM-SHA384"},
    ServerEffect{"TheClientsFirst",
                 [](ServerSettings& s) {
                   s.ssl_ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256";
                   s.ssl_prefer_server_ciphers = false;
                 },
                 tls12_client_with("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"), cipher_of,
                 "ECDHE-ECDSA-AES128-GCM-SHA256"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Groups, ServerSetting, testing::Values(
    ServerEffect{"AnyByDefault", no_change, groups_of_client("P-521"), group_of, "secp521r1"},
    ServerEffect{"TheOneThatIsSet", [](ServerSettings& s) { s.ssl_groups = "P-384"; }, newest_client, group_of, "secp384r1"},
    ServerEffect{"NotOneThatIsNotSet", [](ServerSettings& s) { s.ssl_groups = "P-384"; }, groups_of_client("X25519"), group_of, ""},
    ServerEffect{"AlsoBeforeTls13", [](ServerSettings& s) { s.ssl_groups = "P-384"; }, tls12_client, group_of, "secp384r1"}),
    [](const auto& row) { return row.param.name; });

// The server's certificate has a key of P-256.
INSTANTIATE_TEST_SUITE_P(SignatureAlgorithms, ServerSetting, testing::Values(
    ServerEffect{"TheOneThatIsSet", [](ServerSettings& s) { s.ssl_signature_algorithms = "ecdsa_secp256r1_sha256"; },
                 newest_client, version_of, "TLSv1.3"},
    ServerEffect{"NotOneThatIsNotSet", [](ServerSettings& s) { s.ssl_signature_algorithms = "rsa_pss_rsae_sha256"; },
                 newest_client, version_of, ""},
    ServerEffect{"NotOneThatTheClientLacks",
                 [](ServerSettings& s) { s.ssl_signature_algorithms = "ecdsa_secp256r1_sha256"; },
                 [](SSL_CTX* client) { SSL_CTX_set1_sigalgs_list(client, "rsa_pss_rsae_sha256"); }, version_of, ""},
    ServerEffect{"AlsoBeforeTls13", [](ServerSettings& s) { s.ssl_signature_algorithms = "ecdsa_secp256r1_sha256"; },
                 tls12_client, version_of, "TLSv1.2"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ServerSettingCiphers, MayBeOfFiniteFields) {
  const Site site;
  auto settings = site.server_settings();
  const Identity rsa = issued_by(site.root, named("rsa", KeyKind::rsa2048));
  settings.certificates = {
      {{}, site.folder.write("rsa.crt", rsa.certificate_pem()), site.folder.write("rsa.key", rsa.key_pem())}};
  settings.ssl_ciphers = "DHE+AESGCM";
  const auto client = openssl_client();
  tls12_client(client.get());
  const auto accepted = accept(Site::build(settings), client.get());
  ASSERT_EQ(accepted.status, Engine::Status::ready) << accepted.server->failure().reason;
  EXPECT_EQ(accepted.server->agreed().cipher, "DHE-RSA-AES256-GCM-SHA384");
}

// --- mistakes ---

struct MistakenServerContext {
  const char* name;
  std::function<void(const Site& site, ServerSettings& settings)> spoil;
  const char* setting;
  const char* message;  // a part of the message
  int certificate = -1;
};
void PrintTo(const MistakenServerContext& row, std::ostream* out) {
  *out << row.name;
}

// Valid settings with two certificates and authorities. Each row makes one of them invalid.
class ServerContextMistake : public testing::TestWithParam<MistakenServerContext> {
 protected:
  ServerContextMistake() {
    const Identity other = issued_by(site_.root, named("other"));
    settings_.certificates.push_back({{"other.example.com"},
                                      site_.folder.write("other.crt", other.certificate_pem()),
                                      site_.folder.write("other.key", other.key_pem())});
    settings_.ssl_ca_file = site_.folder.path("root.crt");
  }

  Site site_;
  ServerSettings settings_ = site_.server_settings();
};

TEST_P(ServerContextMistake, IsTold) {
  ASSERT_TRUE(ServerContext::build(settings_)) << "the settings must be fine before they are spoiled";
  GetParam().spoil(site_, settings_);
  const auto built = ServerContext::build(settings_);
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U) << built.error()[1].message;
  EXPECT_EQ(built.error()[0].setting, GetParam().setting);
  EXPECT_NE(built.error()[0].message.find(GetParam().message), std::string::npos) << built.error()[0].message;
  EXPECT_FALSE(built.error()[0].message.starts_with(GetParam().setting))
      << "the setting is named before the message";
  EXPECT_EQ(built.error()[0].certificate, GetParam().certificate);
  EXPECT_NE(built.error()[0].hint, "");
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Policy, ServerContextMistake, testing::Values(
    MistakenServerContext{"MinimumAboveMaximum",
                          [](const Site&, ServerSettings& s) {
                            s.ssl_min_protocol_version = Version::tls1_3;
                            s.ssl_max_protocol_version = Version::tls1_2;
                          },
                          "ssl_min_protocol_version", R"("TLSv1.3" is higher than ssl_max_protocol_version "TLSv1.2")"},
    MistakenServerContext{"CiphersMeanNothing", [](const Site&, ServerSettings& s) { s.ssl_ciphers = "NONSENSE"; },
                          "ssl_ciphers", R"("NONSENSE" matches no cipher)"},
    MistakenServerContext{"CiphersAreOfTls13", [](const Site&, ServerSettings& s) { s.ssl_ciphers = "TLS_AES_256_GCM_SHA384"; },
                          "ssl_ciphers", "matches no cipher"},
    MistakenServerContext{"CiphersAreTooNewForTheVersions",
                          [](const Site&, ServerSettings& s) {
                            s.ssl_min_protocol_version = Version::tls1_1;
                            s.ssl_max_protocol_version = Version::tls1_1;
                          },
                          "ssl_ciphers", "no cipher can be used"},
    MistakenServerContext{"CiphersNeedNoCertificate",
                          [](const Site&, ServerSettings& s) { s.ssl_ciphers = "ECDHE+AESGCM:ADH-AES256-GCM-SHA384:@SECLEVEL=0"; },
                          "ssl_ciphers", "\"ADH-AES256-GCM-SHA384\""},
    MistakenServerContext{"CiphersEncryptNothing",
                          [](const Site&, ServerSettings& s) { s.ssl_ciphers = "ECDHE+AESGCM:ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0"; },
                          "ssl_ciphers", "\"ECDHE-ECDSA-NULL-SHA\""},
    MistakenServerContext{"Tls13CiphersMeanNothing", [](const Site&, ServerSettings& s) { s.ssl_tls13_ciphers = "NONSENSE"; },
                          "ssl_tls13_ciphers", "\"NONSENSE\""},
    MistakenServerContext{"Tls13CiphersAreOlder",
                          [](const Site&, ServerSettings& s) { s.ssl_tls13_ciphers = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"; },
                          "ssl_tls13_ciphers", "\"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\""},
    MistakenServerContext{"GroupsAreUnknown", [](const Site&, ServerSettings& s) { s.ssl_groups = "X25519:NONSENSE"; },
                          "ssl_groups", "\"X25519:NONSENSE\""},
    MistakenServerContext{"SignatureAlgorithmsAreUnknown",
                          [](const Site&, ServerSettings& s) { s.ssl_signature_algorithms = "ecdsa_secp256r1_sha256:NONSENSE"; },
                          "ssl_signature_algorithms", "NONSENSE"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Clients, ServerContextMistake, testing::Values(
    MistakenServerContext{"AuthoritiesAreMissing", [](const Site&, ServerSettings& s) { s.ssl_ca_file = "/nonexistent/ca.crt"; },
                          "ssl_ca_file", R"("/nonexistent/ca.crt" cannot be loaded: No such file or directory)"},
    MistakenServerContext{"AuthoritiesAreGarbage", [](const Site& site, ServerSettings& s) { s.ssl_ca_file = garbage(site); },
                          "ssl_ca_file", "it holds no PEM block of a certificate"},
    MistakenServerContext{"AuthoritiesAreACrl",
                          [](const Site& site, ServerSettings& s) { s.ssl_ca_file = site.folder.write("a", crl_pem(site.root, {})); },
                          "ssl_ca_file", "it holds no certificate"},
    MistakenServerContext{"CrlIsMissing", [](const Site&, ServerSettings& s) { s.ssl_crl_file = "/nonexistent/a.crl"; },
                          "ssl_crl_file", "No such file or directory"},
    MistakenServerContext{"CrlIsACertificate",
                          [](const Site& site, ServerSettings& s) { s.ssl_crl_file = site.folder.path("root.crt"); },
                          "ssl_crl_file", "cannot be loaded"},
    MistakenServerContext{"CrlDirectoryIsMissing", [](const Site&, ServerSettings& s) { s.ssl_crl_dir = "/nonexistent"; },
                          "ssl_crl_dir", R"("/nonexistent")"},
    MistakenServerContext{"CrlWithoutAuthorities",
                          [](const Site& site, ServerSettings& s) {
                            s.ssl_crl_file = site.folder.write("a.crl", crl_pem(site.root, {}));
                            s.ssl_ca_file.clear();
                          },
                          "ssl_crl_file", "is set without ssl_ca_file"},
    MistakenServerContext{"CrlDirectoryWithoutAuthorities",
                          [](const Site& site, ServerSettings& s) {
                            site.folder.write(crl_file_name(site.root), crl_pem(site.root, {}));
                            s.ssl_crl_dir = site.folder.path(".");
                            s.ssl_ca_file.clear();
                          },
                          "ssl_crl_dir", "is set without ssl_ca_file"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Certificates, ServerContextMistake, testing::Values(
    MistakenServerContext{"NoneAtAll", [](const Site&, ServerSettings& s) { s.certificates.clear(); },
                          "ssl_cert_file", "no certificate is set"},
    MistakenServerContext{"CertificateIsNotSet", [](const Site&, ServerSettings& s) { s.certificates[1].ssl_cert_file.clear(); },
                          "ssl_cert_file", "is not set", 1},
    MistakenServerContext{"KeyIsNotSet", [](const Site&, ServerSettings& s) { s.certificates[0].ssl_key_file.clear(); },
                          "ssl_key_file", "is not set", 0},
    MistakenServerContext{"CertificateIsMissing",
                          [](const Site&, ServerSettings& s) { s.certificates[1].ssl_cert_file = "/nonexistent/a.crt"; },
                          "ssl_cert_file", R"("/nonexistent/a.crt" cannot be read: No such file or directory)", 1},
    MistakenServerContext{"KeyIsReadableByAll",
                          [](const Site&, ServerSettings& s) { ASSERT_EQ(::chmod(s.certificates[1].ssl_key_file.c_str(), 0644), 0); },
                          "ssl_key_file", "has group or world access", 1},
    MistakenServerContext{"KeyOfAnotherCertificate",
                          [](const Site&, ServerSettings& s) { s.certificates[1].ssl_key_file = s.certificates[0].ssl_key_file; },
                          "ssl_key_file", "does not match private key file", 1},
    MistakenServerContext{"KeyIsTooWeak",
                          [](const Site& site, ServerSettings& s) {
                            const Identity weak = issued_by(site.root, named("weak", KeyKind::rsa768));
                            s.certificates[1].ssl_cert_file = site.folder.write("w.crt", weak.certificate_pem());
                            s.certificates[1].ssl_key_file = site.folder.write("w.key", weak.key_pem());
                          },
                          "ssl_cert_file", "ee key too small", 1},
    // Without the check, only connections would detect this.
    MistakenServerContext{"KeyIsTooWeakForTheLevelOfTheCiphers",
                          [](const Site& site, ServerSettings& s) {
                            const Identity weak = issued_by(site.root, named("weak", KeyKind::rsa2048));
                            s.certificates[1].ssl_cert_file = site.folder.write("w.crt", weak.certificate_pem());
                            s.certificates[1].ssl_key_file = site.folder.write("w.key", weak.key_pem());
                            s.ssl_ciphers = "ECDHE+AESGCM:@SECLEVEL=3";
                          },
                          "ssl_cert_file", "ee key too small", 1},
    MistakenServerContext{"TwoDefaults", [](const Site&, ServerSettings& s) { s.certificates[1].server_names.clear(); },
                          "server_names", "two certificates without server_names", 1},
    MistakenServerContext{"TwoForOneName",
                          [](const Site&, ServerSettings& s) {
                            s.certificates[0].server_names = {"OTHER.example.com"};
                          },
                          "server_names", R"(two certificates for "other.example.com")", 1},
    MistakenServerContext{"TwoForOneWildcard",
                          [](const Site&, ServerSettings& s) {
                            s.certificates[0].server_names = {"*.example.com"};
                            s.certificates[1].server_names = {"*.example.com"};
                          },
                          "server_names", R"(two certificates for "*.example.com")", 1},
    MistakenServerContext{"NoName", [](const Site&, ServerSettings& s) { s.certificates[1].server_names = {"db*.example.com"}; },
                          "server_names", R"(invalid server name "db*.example.com")", 1}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ServerContextMistakes, AreAllToldAtOnce) {
  const Site site;
  ServerSettings settings;
  settings.certificates = {{{}, "/nonexistent/a.crt", "/nonexistent/a.key"},
                           {{}, "/nonexistent/b.crt", "/nonexistent/b.key"}};
  settings.ssl_ca_file = "/nonexistent/ca.crt";
  settings.ssl_crl_file = "/nonexistent/a.crl";
  settings.ssl_crl_dir = "/nonexistent";
  settings.ssl_min_protocol_version = Version::tls1_3;
  settings.ssl_max_protocol_version = Version::tls1_2;
  settings.ssl_ciphers = "NONSENSE";
  settings.ssl_tls13_ciphers = "NONSENSE";
  settings.ssl_groups = "NONSENSE";
  const auto built = ServerContext::build(settings);
  ASSERT_FALSE(built);
  std::vector<std::string> at;
  for (const auto& mistake : built.error())
    at.push_back(mistake.setting +
                 (mistake.certificate < 0 ? "" : '[' + std::to_string(mistake.certificate) + ']'));
  EXPECT_EQ(at, (std::vector<std::string>{"ssl_min_protocol_version", "ssl_ciphers", "ssl_tls13_ciphers",
                                          "ssl_groups", "ssl_ca_file", "ssl_crl_file", "ssl_crl_dir",
                                          "ssl_cert_file[0]", "ssl_key_file[0]", "server_names[1]",
                                          "ssl_cert_file[1]", "ssl_key_file[1]"}));
}

// --- warnings ---

struct Lifetime {
  const char* name;
  std::chrono::seconds not_before;
  std::chrono::seconds not_after;
  const char* warning;  // a part of the message; empty: none
};
void PrintTo(const Lifetime& row, std::ostream* out) {
  *out << row.name;
}

class OwnCertificateTime : public testing::TestWithParam<Lifetime> {
 protected:
  OwnCertificateTime() {
    CertificateRequest request = named("own");
    request.not_before = GetParam().not_before;
    request.not_after = GetParam().not_after;
    const Identity own = issued_by(site_.root, request);
    cert_ = site_.folder.write("own.crt", own.certificate_pem());
    key_ = site_.folder.write("own.key", own.key_pem());
  }

  void expect(const std::vector<SettingError>& warnings, const char* setting, int certificate) {
    if (*GetParam().warning == '\0') {
      EXPECT_TRUE(warnings.empty()) << warnings[0].message;
      return;
    }
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_EQ(warnings[0].setting, setting);
    EXPECT_EQ(warnings[0].certificate, certificate);
    const std::string expected =
        "the certificate of \"CN=own\" in \"" + cert_ + "\" " + GetParam().warning + " 20";
    EXPECT_TRUE(warnings[0].message.starts_with(expected)) << warnings[0].message;
    EXPECT_NE(warnings[0].hint, "");
  }

  Site site_;
  std::string cert_;
  std::string key_;
};

TEST_P(OwnCertificateTime, IsWarnedOfByAServer) {
  ServerSettings settings;
  settings.certificates = {{{}, cert_, key_}};
  expect(Site::build(settings)->warnings(), "ssl_cert_file", 0);
}

TEST_P(OwnCertificateTime, IsWarnedOfByAClient) {
  auto settings = site_.client_settings();
  settings.sslcert = cert_;
  settings.sslkey = key_;
  expect(Site::build(settings)->warnings(), "sslcert", -1);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Times, OwnCertificateTime, testing::Values(
    Lifetime{"LongEnough", -1h, kExpiryNotice + 1min, ""},
    Lifetime{"EndsSoon", -1h, kExpiryNotice - 1min, "expires on"},
    Lifetime{"EndsInAMinute", -1h, 1min, "expires on"},
    Lifetime{"HasEnded", -1h, -1min, "expired on"},
    Lifetime{"HasNotBegun", 1h, kExpiryNotice * 2, "is not valid before"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(OwnIntermediate, IsWarnedOfToo) {
  const Site site;
  CertificateRequest request = named("Test Intermediate");
  request.authority = true;
  request.not_after = -1min;
  const Identity intermediate = issued_by(site.root, request);
  CertificateRequest leaf_request = named("own");
  leaf_request.not_after = kExpiryNotice * 2;
  const Identity leaf = issued_by(intermediate, leaf_request);
  ServerSettings settings;
  settings.certificates = {
      {{},
       site.folder.write("own.crt", leaf.certificate_pem() + intermediate.certificate_pem()),
       site.folder.write("own.key", leaf.key_pem())}};
  const auto warnings = Site::build(settings)->warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].message.find(R"(of "CN=Test Intermediate")"), std::string::npos)
      << warnings[0].message;
}

// --- sessions are not resumed ---

class ServerSession : public testing::TestWithParam<int> {};

// The client keeps the session of a server that issues tickets, and offers it to our server.
TEST_P(ServerSession, OfAnotherServerIsNotResumed) {
  const Site site;
  const auto giver = openssl_server(site.server);
  SSL_CTX_set_num_tickets(giver.get(), 1);
  const auto client = openssl_client();
  SSL_CTX_set_max_proto_version(client.get(), GetParam());
  OpenSslEnd server(giver.get(), OpenSslEnd::Side::server);
  OpenSslEnd first(client.get(), OpenSslEnd::Side::client);
  Bytes to_server;
  Bytes to_client;
  for (int i = 0; i < 3; ++i) {
    first.handshake(std::exchange(to_client, {}), to_server);
    server.handshake(std::exchange(to_server, {}), to_client);
  }
  first.read(to_client);
  first.read(server.write("x"));
  SSL_SESSION* session = SSL_get0_session(first.ssl());
  ASSERT_EQ(SSL_SESSION_is_resumable(session), 1) << "there must be something to resume";

  auto settings = site.server_settings();
  settings.ssl_ca_file = site.folder.path("root.crt");
  const Identity app = issued_by(site.root, named("app"));
  show(client.get(), app);
  EngineEnd ours(Engine::to_client(Site::build(settings), false));
  OpenSslEnd second(client.get(), OpenSslEnd::Side::client);
  ASSERT_EQ(SSL_set_session(second.ssl(), session), 1);
  to_server.clear();
  to_client.clear();
  auto status = Engine::Status::want_input;
  for (int i = 0; i < 3 && status == Engine::Status::want_input; ++i) {
    second.handshake(std::exchange(to_client, {}), to_server);
    status = ours.handshake(std::exchange(to_server, {}), to_client);
  }
  ASSERT_EQ(status, Engine::Status::ready) << ours.failure().reason;
  if (!to_client.empty()) second.handshake(to_client, to_server);
  EXPECT_EQ(SSL_session_reused(second.ssl()), 0);
  const auto peer = ours.agreed().peer;
  ASSERT_TRUE(peer) << "the client must show its certificate each time";
  EXPECT_EQ(peer->subject, "CN=app");
}

TEST_P(ServerSession, IsNotGiven) {
  const Site site;
  const auto client = openssl_client();
  SSL_CTX_set_max_proto_version(client.get(), GetParam());
  const auto accepted = accept(Site::build(site.server_settings()), client.get());
  ASSERT_EQ(accepted.status, Engine::Status::ready);
  accepted.client->read(accepted.server->write("x"));
  const SSL_SESSION* session = SSL_get0_session(accepted.client->ssl());
  unsigned id_size = 1;
  SSL_SESSION_get_id(session, &id_size);
  EXPECT_EQ(SSL_SESSION_is_resumable(session), 0);
  EXPECT_EQ(SSL_SESSION_has_ticket(session), 0);
  EXPECT_EQ(id_size, 0U);
}

INSTANTIATE_TEST_SUITE_P(Versions, ServerSession, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
