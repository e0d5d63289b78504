// Verification of a server's certificate, and the report of a failure: whole handshakes of our client with an
// OpenSSL server.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <functional>
#include <memory>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using pgveil::test::dns;
using pgveil::test::ip;
using pgveil::test::KeyKind;

// Three authorities, and a server's certificate that a test case changes before it is issued.
struct ServerScene {
  TemporaryFolder folder;
  Identity root = pgveil::test::authority("Test Root");
  Identity stranger = pgveil::test::authority("Unknown Root");
  CertificateRequest request{.common_names = {"db"},
                             .alternative_names = {dns("db.example.com")},
                             .extended_key_usage = {},
                             .name_constraints = {}};
  std::string host = "db.example.com";
  ClientSettings settings;
  // The certificate that the server sends.
  std::shared_ptr<Identity> leaf;
  std::vector<std::shared_ptr<Identity>> intermediates;

  ServerScene() { trust(root); }
  void trust(const Identity& identity) {
    settings.sslrootcert = folder.write("root.crt", identity.certificate_pem());
  }
  void issue_by(const Identity& issuer) { leaf = std::make_shared<Identity>(issued_by(issuer, request)); }
  // Adds an intermediate authority that the root has issued.
  Identity& add_intermediate(CertificateRequest of = authority_named("Test Intermediate")) {
    intermediates.push_back(std::make_shared<Identity>(issued_by(root, of)));
    return *intermediates.back();
  }
  void crls(const std::vector<std::string>& pems) {
    std::string all;
    for (const auto& pem : pems) all += pem;
    settings.sslcrl = folder.write("root.crl", all);
  }
};

struct Shown {
  Engine::Status status = Engine::Status::failed;
  FailureReport report;
  std::optional<FailureReport> without_handshake;  // the verdict of ClientContext::verify()
  std::string server_error;
};

Shown shown_in(ServerScene& scene, int version) {
  if (!scene.leaf) scene.issue_by(scene.root);
  std::vector<const Identity*> chain;
  for (const auto& intermediate : scene.intermediates) chain.push_back(intermediate.get());
  const auto context = openssl_server(*scene.leaf, chain);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  EngineEnd client(Engine::to_server(Site::build(scene.settings), {.host = scene.host}));
  Shown shown;
  shown.status = shake_hands(client, server);
  shown.report = client.failure();
  shown.server_error = server.error();
  shown.without_handshake =
      Site::build(scene.settings)->verify(peer_chain_of(*scene.leaf, chain), scene.host);
  return shown;
}

// --- accepted ---

struct Accepted {
  const char* name;
  std::function<void(ServerScene&)> prepare;
};
void PrintTo(const Accepted& row, std::ostream* out) {
  *out << row.name;
}

class GoodServerCertificate : public testing::TestWithParam<Accepted> {};

TEST_P(GoodServerCertificate, IsAccepted) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ServerScene scene;
    GetParam().prepare(scene);
    const auto shown = shown_in(scene, version);
    EXPECT_EQ(shown.status, Engine::Status::ready) << shown.report.reason << ' ' << shown.report.detail;
    EXPECT_EQ(text_of(shown.without_handshake), "valid");
  }
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Chains, GoodServerCertificate, testing::Values(
    Accepted{"OfTheRoot", [](ServerScene&) {}},
    Accepted{"OfAnIntermediateThatIsSent", [](ServerScene& s) { s.issue_by(s.add_intermediate()); }},
    Accepted{"ItselfTheTrustedRoot",
             [](ServerScene& s) {
               s.leaf = std::make_shared<Identity>(self_signed(s.request));
               s.trust(*s.leaf);
             }},
    Accepted{"ForServers", [](ServerScene& s) { s.request.extended_key_usage = "serverAuth"; }},
    Accepted{"ForServersAndClients", [](ServerScene& s) { s.request.extended_key_usage = "serverAuth,clientAuth"; }},
    Accepted{"Rsa", [](ServerScene& s) { s.request.key = KeyKind::rsa2048; }},
    Accepted{"RsaPss", [](ServerScene& s) { s.request.key = KeyKind::rsa_pss2048; }},
    Accepted{"Ed25519", [](ServerScene& s) { s.request.key = KeyKind::ed25519; }},
    Accepted{"InItsLastMinute", [](ServerScene& s) { s.request.not_after = 1min; }},
    Accepted{"CommonNameAlone",
             [](ServerScene& s) {
               s.request.common_names = {"db.example.com"};
               s.request.alternative_names.clear();
             }},
    Accepted{"AnAddress",
             [](ServerScene& s) {
               s.host = "192.0.2.1";
               s.request.alternative_names = {ip("\xc0\x00\x02\x01"s)};
             }},
    Accepted{"NotRevoked", [](ServerScene& s) { s.crls({crl_pem(s.root, {})}); }},
    Accepted{"NeitherItNorItsIssuerRevoked",
             [](ServerScene& s) {
               const Identity& intermediate = s.add_intermediate();
               s.issue_by(intermediate);
               s.crls({crl_pem(s.root, {}), crl_pem(intermediate, {})});
             }}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// --- refused ---

struct RefusedServer {
  const char* name;
  std::function<void(ServerScene&)> prepare;
  Failure failure;
  int depth;
  const char* subject;
  const char* detail;  // a part of the detail
};
void PrintTo(const RefusedServer& row, std::ostream* out) {
  *out << row.name;
}

class BadServerCertificate : public testing::TestWithParam<RefusedServer> {};

TEST_P(BadServerCertificate, IsRefusedWithItsReason) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ServerScene scene;
    GetParam().prepare(scene);
    const auto shown = shown_in(scene, version);
    EXPECT_EQ(shown.status, Engine::Status::failed);
    EXPECT_EQ(name_of(shown.report.failure), name_of(GetParam().failure)) << shown.report.reason;
    EXPECT_EQ(shown.report.depth, GetParam().depth);
    EXPECT_EQ(shown.report.subject, GetParam().subject);
    EXPECT_NE(shown.report.detail.find(GetParam().detail), std::string::npos) << shown.report.detail;
    EXPECT_NE(shown.server_error.find("alert"), std::string::npos)
        << "the server was told nothing: " << shown.server_error;
    EXPECT_EQ(text_of(shown.without_handshake), text_of(shown.report));
  }
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Chains, BadServerCertificate, testing::Values(
    RefusedServer{"OfAnUnknownRoot", [](ServerScene& s) { s.issue_by(s.stranger); },
                  Failure::untrusted_issuer, 0, "CN=db", R"(issued by "CN=Unknown Root", which leads to no trusted)"},
    RefusedServer{"OfARootOfTheSameName", [](ServerScene& s) { s.issue_by(pgveil::test::authority("Test Root")); },
                  Failure::invalid_certificate, 0, "CN=db", "certificate signature failure"},
    RefusedServer{"SelfSigned", [](ServerScene& s) { s.leaf = std::make_shared<Identity>(self_signed(s.request)); },
                  Failure::untrusted_issuer, 0, "CN=db", "self-signed certificate"},
    RefusedServer{"UnknownRootIsSentAlong",
                  [](ServerScene& s) {
                    s.issue_by(s.stranger);
                    s.intermediates.push_back(std::make_shared<Identity>(std::move(s.stranger)));
                  },
                  Failure::untrusted_issuer, 1, "CN=Unknown Root", "self-signed certificate in certificate chain"},
    RefusedServer{"IntermediateIsNotSent",
                  [](ServerScene& s) {
                    s.issue_by(s.add_intermediate());
                    s.intermediates.clear();
                  },
                  Failure::untrusted_issuer, 0, "CN=db", R"(issued by "CN=Test Intermediate")"},
    // Partial chains are not accepted: libpq requires a root.
    RefusedServer{"OnlyTheIntermediateIsTrusted",
                  [](ServerScene& s) {
                    s.issue_by(s.add_intermediate());
                    s.trust(*s.intermediates[0]);
                  },
                  Failure::untrusted_issuer, 1, "CN=Test Intermediate", R"(issued by "CN=Test Root")"},
    RefusedServer{"BrokenSignature",
                  [](ServerScene& s) { s.leaf = std::make_shared<Identity>(with_broken_signature(issued_by(s.root, s.request))); },
                  Failure::invalid_certificate, 0, "CN=db", "certificate signature failure"},
    RefusedServer{"NameOutsideItsIssuersConstraint",
                  [](ServerScene& s) {
                    auto request = authority_named("Test Intermediate");
                    request.name_constraints = "permitted;DNS:example.org";
                    s.issue_by(s.add_intermediate(request));
                  },
                  Failure::invalid_certificate, 0, "CN=db", "permitted subtree violation"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Times, BadServerCertificate, testing::Values(
    RefusedServer{"Expired", [](ServerScene& s) { s.request.not_after = -1min; },
                  Failure::expired, 0, "CN=db", R"(The certificate of "CN=db" expired on 20)"},
    RefusedServer{"NotYetValid", [](ServerScene& s) { s.request.not_before = 1h; },
                  Failure::not_yet_valid, 0, "CN=db", R"(The certificate of "CN=db" is not valid before 20)"},
    RefusedServer{"IssuerExpired",
                  [](ServerScene& s) {
                    auto request = authority_named("Test Intermediate");
                    request.not_after = -1min;
                    s.issue_by(s.add_intermediate(request));
                  },
                  Failure::expired, 1, "CN=Test Intermediate", R"("CN=Test Intermediate" expired on)"},
    RefusedServer{"ExpiredWithoutASubject",
                  [](ServerScene& s) {
                    s.request.common_names.clear();
                    s.request.not_after = -1min;
                  },
                  Failure::expired, 0, "", R"(The certificate for "db.example.com" expired on)"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Purposes, BadServerCertificate, testing::Values(
    RefusedServer{"ForClients", [](ServerScene& s) { s.request.extended_key_usage = "clientAuth"; },
                  Failure::wrong_purpose, 0, "CN=db", ""},
    RefusedServer{"IssuedByAServer",
                  [](ServerScene& s) {
                    CertificateRequest request;
                    request.common_names = {"No Authority"};
                    s.issue_by(s.add_intermediate(request));
                  },
                  Failure::wrong_purpose, 1, "CN=No Authority", "invalid CA certificate"},
    RefusedServer{"WeakKey", [](ServerScene& s) { s.request.key = KeyKind::rsa768; }, Failure::weak, 0, "CN=db", "key too weak"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Names, BadServerCertificate, testing::Values(
    RefusedServer{"AnotherHost", [](ServerScene& s) { s.host = "10.0.0.7"; },
                  Failure::wrong_name, 0, "CN=db", R"(Host is "10.0.0.7"; the certificate names "db.example.com".)"},
    RefusedServer{"NulInTheName",
                  [](ServerScene& s) { s.request.alternative_names = {dns("db.example.com\0.evil.org"s)}; },
                  Failure::wrong_name, 0, "CN=db", R"("db.example.com\x00.evil.org")"},
    RefusedServer{"NoHostWasAsked", [](ServerScene& s) { s.host = ""; }, Failure::wrong_name, 0, "CN=db", R"(Host is "")"},
    RefusedServer{"ExpiryIsToldBeforeTheName",
                  [](ServerScene& s) {
                    s.host = "other.example.com";
                    s.request.not_after = -1min;
                  },
                  Failure::expired, 0, "CN=db", "expired"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Revocation, BadServerCertificate, testing::Values(
    RefusedServer{"Revoked",
                  [](ServerScene& s) {
                    s.issue_by(s.root);
                    s.crls({crl_pem(s.root, {s.leaf.get()})});
                  },
                  Failure::revoked, 0, "CN=db", R"("CN=db" was revoked by its issuer "CN=Test Root")"},
    RefusedServer{"IssuerRevoked",
                  [](ServerScene& s) {
                    const Identity& intermediate = s.add_intermediate();
                    s.issue_by(intermediate);
                    s.crls({crl_pem(s.root, {&intermediate}), crl_pem(intermediate, {})});
                  },
                  Failure::revoked, 1, "CN=Test Intermediate", "was revoked"},
    RefusedServer{"NoCrlOfItsIssuer",
                  [](ServerScene& s) {
                    s.issue_by(s.add_intermediate());
                    s.crls({crl_pem(s.root, {})});
                  },
                  Failure::crl_unusable, 0, "CN=db", R"(a CRL of "CN=Test Intermediate")"},
    RefusedServer{"NoCrlOfItsIssuersIssuer",
                  [](ServerScene& s) {
                    const Identity& intermediate = s.add_intermediate();
                    s.issue_by(intermediate);
                    s.crls({crl_pem(intermediate, {})});
                  },
                  Failure::crl_unusable, 1, "CN=Test Intermediate", R"(a CRL of "CN=Test Root")"},
    RefusedServer{"CrlExpired", [](ServerScene& s) { s.crls({crl_pem(s.root, {}, -1min)}); },
                  Failure::crl_unusable, 0, "CN=db", "CRL has expired"},
    RefusedServer{"CrlOfAnImpostor",
                  [](ServerScene& s) { s.crls({crl_pem(pgveil::test::authority("Test Root"), {})}); },
                  Failure::crl_unusable, 0, "CN=db", "CRL signature failure"},
    RefusedServer{"RevokedInADirectory",
                  [](ServerScene& s) {
                    s.issue_by(s.root);
                    s.folder.write(crl_file_name(s.root), crl_pem(s.root, {s.leaf.get()}));
                    s.settings.sslcrldir = s.folder.path(".");
                  },
                  Failure::revoked, 0, "CN=db", "was revoked"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// --- what is sent ---

// The server's name is wrong, so our certificate must not be sent to it.
class OurCertificate : public testing::TestWithParam<int> {};

TEST_P(OurCertificate, IsShownToTheVerifiedServerOnly) {
  const auto reaches_server = [&](const std::string& host) {
    ServerScene scene;
    scene.issue_by(scene.root);
    const Identity own = issued_by(
        scene.root,
        {.common_names = {"app"}, .alternative_names = {}, .extended_key_usage = {}, .name_constraints = {}});
    scene.settings.sslcert = scene.folder.write("app.crt", own.certificate_pem());
    scene.settings.sslkey = scene.folder.write("app.key", own.key_pem());
    const auto context = openssl_server(*scene.leaf);
    SSL_CTX_set_max_proto_version(context.get(), GetParam());
    SSL_CTX_set_cert_verify_callback(
        context.get(), [](X509_STORE_CTX*, void*) { return 1; }, nullptr);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
    EngineEnd client(Engine::to_server(Site::build(scene.settings), {.host = host}));
    (void)shake_hands(client, server);
    return SSL_get0_peer_certificate(server.ssl()) != nullptr;
  };
  EXPECT_TRUE(reaches_server("db.example.com"));
  EXPECT_FALSE(reaches_server("other.example.com"));
}

INSTANTIATE_TEST_SUITE_P(Versions, OurCertificate, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
