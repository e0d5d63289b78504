// Each setting of the client: its effect on a server, and the report of a mistake in it.
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

struct ClientEffect {
  const char* name;
  std::function<void(ClientSettings&)> set;
  std::function<void(SSL_CTX*)> server;
  std::function<std::string(const Established&)> of;
  const char* agreed;  // empty: the handshake must fail
};
void PrintTo(const ClientEffect& row, std::ostream* out) {
  *out << row.name;
}

class ClientSetting : public testing::TestWithParam<ClientEffect> {};

TEST_P(ClientSetting, HasItsEffect) {
  const Site site;
  auto settings = site.client_settings();
  GetParam().set(settings);
  const auto context = openssl_server(site.server);
  GetParam().server(context.get());
  EngineEnd client(Engine::to_server(Site::build(settings), {.host = Site::kHost}));
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  const auto status = shake_hands(client, server);
  if (*GetParam().agreed == '\0') {
    EXPECT_EQ(status, Engine::Status::failed);
    EXPECT_EQ(client.failure().failure, Failure::no_common_parameters) << client.failure().reason;
    return;
  }
  ASSERT_EQ(status, Engine::Status::ready) << client.failure().reason;
  EXPECT_EQ(GetParam().of(client.agreed()), GetParam().agreed);
}

void nothing(ClientSettings& /*settings*/) {}
void newest_server(SSL_CTX* /*server*/) {}
void tls12_server(SSL_CTX* server) {
  SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
}
std::function<void(SSL_CTX*)> tls12_with(const char* ciphers) {
  return [ciphers](SSL_CTX* server) {
    tls12_server(server);
    SSL_CTX_set_cipher_list(server, ciphers);
  };
}
std::function<void(SSL_CTX*)> groups(const char* list) {
  return [list](SSL_CTX* server) { SSL_CTX_set1_groups_list(server, list); };
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Ciphers, ClientSetting, testing::Values(
    ClientEffect{"ForwardSecrecyAndAeadByDefault", nothing, tls12_with("ECDHE-ECDSA-CHACHA20-POLY1305"), cipher_of,
                 "ECDHE-ECDSA-CHACHA20-POLY1305"},
    ClientEffect{"NoCbcByDefault", nothing, tls12_with("ECDHE-ECDSA-AES256-SHA384"), cipher_of, ""},
    ClientEffect{"DefaultWhereItIsEmpty", [](ClientSettings& s) { s.ssl_ciphers = ""; },
                 tls12_with("ECDHE-ECDSA-AES256-SHA384"), cipher_of, ""},
    ClientEffect{"TheOneThatIsSet", [](ClientSettings& s) { s.ssl_ciphers = "ECDHE-ECDSA-AES256-SHA384"; },
                 tls12_server, cipher_of, "ECDHE-ECDSA-AES256-SHA384"},
    ClientEffect{"TheOneOfTls13ThatIsSet", [](ClientSettings& s) { s.ssl_tls13_ciphers = "TLS_CHACHA20_POLY1305_SHA256"; },
                 newest_server, cipher_of, "TLS_CHACHA20_POLY1305_SHA256"},
    ClientEffect{"NotOneOfTls13ThatIsNotSet", [](ClientSettings& s) { s.ssl_tls13_ciphers = "TLS_CHACHA20_POLY1305_SHA256"; },
                 [](SSL_CTX* server) { SSL_CTX_set_ciphersuites(server, "TLS_AES_256_GCM_SHA384"); }, cipher_of, ""}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Groups, ClientSetting, testing::Values(
    ClientEffect{"TheOneThatIsSet", [](ClientSettings& s) { s.ssl_groups = "P-384"; }, newest_server, group_of, "secp384r1"},
    ClientEffect{"NotOneThatIsNotSet", [](ClientSettings& s) { s.ssl_groups = "P-384"; }, groups("X25519"), group_of, ""},
    ClientEffect{"TheSecondIfTheServerLacksTheFirst", [](ClientSettings& s) { s.ssl_groups = "P-384:P-256"; },
                 groups("P-256"), group_of, "secp256r1"},
    // Before TLS 1.3 the curve of the certificate's key must be one of the groups (RFC 8422, 5.1).
    ClientEffect{"AlsoBeforeTls13", [](ClientSettings& s) { s.ssl_groups = "P-384:P-256"; }, tls12_server, group_of, "secp384r1"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(SignatureAlgorithms, ClientSetting, testing::Values(
    ClientEffect{"TheOneThatIsSet", [](ClientSettings& s) { s.ssl_signature_algorithms = "ecdsa_secp256r1_sha256"; },
                 newest_server, version_of, "TLSv1.3"},
    ClientEffect{"NotOneThatIsNotSet", [](ClientSettings& s) { s.ssl_signature_algorithms = "rsa_pss_rsae_sha256"; },
                 newest_server, version_of, ""},
    ClientEffect{"AlsoBeforeTls13", [](ClientSettings& s) { s.ssl_signature_algorithms = "rsa_pss_rsae_sha256"; },
                 tls12_server, version_of, ""}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// The next key share is for one of the groups that the setting allows.
TEST(ClientSettingGroups, AreAllThatIsOfferedOnceAServerIsKnown) {
  const Site site;
  auto settings = site.client_settings();
  settings.ssl_groups = "P-384:P-256";
  const auto context = Site::build(settings);
  const auto connect = [&](const char* taken) {
    const auto server_context = openssl_server(site.server);
    SSL_CTX_set1_groups_list(server_context.get(), taken);
    EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
    OpenSslEnd server(server_context.get(), OpenSslEnd::Side::server);
    return shake_hands(client, server) == Engine::Status::ready
               ? client.agreed().group
               : std::string(name_of(client.failure().failure));
  };
  EXPECT_EQ(connect("P-256"), "secp256r1");
  EXPECT_EQ(connect("P-256"), "secp256r1");
  EXPECT_EQ(connect("X25519"), "no_common_parameters");
  EXPECT_EQ(connect("X25519:P-384"), "secp384r1");
}

// --- mistakes ---

struct MistakenClientSetting {
  const char* name;
  std::function<void(ClientSettings&)> spoil;
  const char* setting;
  const char* message;  // a part of the message
};
void PrintTo(const MistakenClientSetting& row, std::ostream* out) {
  *out << row.name;
}

class ClientSettingMistake : public testing::TestWithParam<MistakenClientSetting> {};

TEST_P(ClientSettingMistake, IsTold) {
  const Site site;
  auto settings = site.client_settings();
  GetParam().spoil(settings);
  const auto built = ClientContext::build(settings);
  ASSERT_FALSE(built);
  ASSERT_EQ(built.error().size(), 1U) << built.error()[1].message;
  EXPECT_EQ(built.error()[0].setting, GetParam().setting);
  EXPECT_NE(built.error()[0].message.find(GetParam().message), std::string::npos) << built.error()[0].message;
  EXPECT_NE(built.error()[0].hint, "");
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Policy, ClientSettingMistake, testing::Values(
    MistakenClientSetting{"CiphersMeanNothing", [](ClientSettings& s) { s.ssl_ciphers = "NONSENSE"; },
                          "ssl_ciphers", R"("NONSENSE" matches no cipher)"},
    MistakenClientSetting{"CiphersAreTooNewForTheVersions",
                          [](ClientSettings& s) { s.ssl_min_protocol_version = s.ssl_max_protocol_version.emplace(Version::tls1_1); },
                          "ssl_ciphers", "no cipher can be used"},
    MistakenClientSetting{"CiphersNeedNoCertificate",
                          [](ClientSettings& s) { s.ssl_ciphers = "ECDHE+AESGCM:ADH-AES256-GCM-SHA384:@SECLEVEL=0"; },
                          "ssl_ciphers", "\"ADH-AES256-GCM-SHA384\""},
    MistakenClientSetting{"Tls13CiphersMeanNothing", [](ClientSettings& s) { s.ssl_tls13_ciphers = "NONSENSE"; },
                          "ssl_tls13_ciphers", "\"NONSENSE\""},
    MistakenClientSetting{"GroupsAreUnknown", [](ClientSettings& s) { s.ssl_groups = "X25519:NONSENSE"; },
                          "ssl_groups", "\"X25519:NONSENSE\""},
    MistakenClientSetting{"SignatureAlgorithmsAreUnknown", [](ClientSettings& s) { s.ssl_signature_algorithms = "NONSENSE"; },
                          "ssl_signature_algorithms", "\"NONSENSE\""}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// --- certificate_common_name ---

std::string verdict(const Site& site, const CertificateRequest& request, CommonNameRule rule) {
  auto settings = site.client_settings();
  settings.certificate_common_name = rule;
  const auto base = Site::build(settings);
  // Tests the context of a role, too.
  const auto role = base->with_certificate(site.folder.path("server.crt"), site.folder.path("server.key"));
  const Identity identity = issued_by(site.root, request);
  std::string verdicts;
  for (const auto& context : {base, *role}) {
    const auto server_context = openssl_server(identity);
    EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
    OpenSslEnd server(server_context.get(), OpenSslEnd::Side::server);
    const bool accepted = shake_hands(client, server) == Engine::Status::ready;
    verdicts += accepted ? "accepted;" : client.failure().detail + ';';
  }
  return verdicts;
}

TEST(CertificateCommonName, CountsUnlessItNeverShall) {
  const Site site;
  CertificateRequest request;
  request.common_names = {Site::kHost};
  EXPECT_EQ(verdict(site, request, CommonNameRule::fallback), "accepted;accepted;");
  const std::string refusal =
      "Host is \"db.example.com\"; the certificate names \"db.example.com\" only as its CN, which does not "
      "count.;";
  EXPECT_EQ(verdict(site, request, CommonNameRule::never), refusal + refusal);
  request.alternative_names = {pgveil::test::dns(Site::kHost)};
  EXPECT_EQ(verdict(site, request, CommonNameRule::never), "accepted;accepted;");
}

}  // namespace
}  // namespace pgveil::tls::test
