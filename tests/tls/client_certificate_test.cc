// Client certificates: ours, verified by an OpenSSL server, and an OpenSSL client's, verified by our server.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "tests/tls/peers.h"
#include "tls/internal/certificate_values.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;

CertificateRequest app() {
  CertificateRequest request;
  request.common_names = {"app"};
  return request;
}

// --- our certificate ---

class OurClientCertificate : public testing::TestWithParam<int> {
 protected:
  OurClientCertificate() {
    SSL_CTX_set_max_proto_version(context_.get(), GetParam());
    // Accepts every certificate, or fails with `verdict_`.
    SSL_CTX_set_cert_verify_callback(
        context_.get(),
        [](X509_STORE_CTX* verification, void* verdict) {
          const int error = *static_cast<const int*>(verdict);
          X509_STORE_CTX_set_error(verification, error);
          return error == X509_V_OK ? 1 : 0;
        },
        &verdict_);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }

  void own_certificate() {
    const Identity own = issued_by(site_.root, app());
    settings_.sslcert = site_.folder.write("app.crt", own.certificate_pem());
    settings_.sslkey = site_.folder.write("app.key", own.key_pem());
  }

  // Does the handshake and the first read: with TLS 1.3 a client has finished before the server has verified
  // it.
  Engine::Status connect() {
    server_ = std::make_unique<OpenSslEnd>(context_.get(), OpenSslEnd::Side::server);
    client_ = std::make_unique<EngineEnd>(Engine::to_server(Site::build(settings_), {.host = Site::kHost}));
    Bytes to_server;
    Bytes to_client;
    auto status = client_->handshake({}, to_server);
    server_->handshake(to_server, to_client);
    to_server.clear();
    status = client_->handshake(to_client, to_server);
    to_client.clear();
    server_->handshake(to_server, to_client);
    std::string ignored;
    if (status == Engine::Status::ready) return client_->read(to_client, ignored);
    to_server.clear();
    return client_->handshake(to_client, to_server);
  }

  Site site_;
  int verdict_ = X509_V_OK;
  SslContext context_ = openssl_server(site_.server);
  ClientSettings settings_ = site_.client_settings();
  std::unique_ptr<OpenSslEnd> server_;
  std::unique_ptr<EngineEnd> client_;
};

TEST_P(OurClientCertificate, IsShownWhereItIsAsked) {
  own_certificate();
  ASSERT_NE(connect(), Engine::Status::failed) << client_->failure().reason;
  X509* shown = SSL_get0_peer_certificate(server_->ssl());
  ASSERT_NE(shown, nullptr);
  EXPECT_EQ(X509_NAME_entry_count(X509_get_subject_name(shown)), 1);
}

// libpq also has OpenSSL search for them. The chain in the server's SSL does not contain the leaf.
TEST_P(OurClientCertificate, BringsIntermediatesOfTheRootFile) {
  CertificateRequest request = app();
  request.common_names = {"Test Intermediate"};
  request.authority = true;
  const Identity intermediate = issued_by(site_.root, request);
  const Identity own = issued_by(intermediate, app());
  settings_.sslcert = site_.folder.write("app.crt", own.certificate_pem());
  settings_.sslkey = site_.folder.write("app.key", own.key_pem());
  ASSERT_NE(connect(), Engine::Status::failed) << client_->failure().reason;
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(server_->ssl())), 0);
  settings_.sslrootcert =
      site_.folder.write("roots.crt", site_.root.certificate_pem() + intermediate.certificate_pem());
  ASSERT_NE(connect(), Engine::Status::failed) << client_->failure().reason;
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(server_->ssl())), 1);
}

TEST_P(OurClientCertificate, IsMissedByTheServer) {
  EXPECT_EQ(connect(), Engine::Status::failed);
  EXPECT_EQ(name_of(client_->failure().failure), "rejected_by_peer") << client_->failure().reason;
}

// Tests every alert by which an OpenSSL server rejects a certificate.
TEST_P(OurClientCertificate, IsRejectedByTheServer) {
  own_certificate();
  for (const int error :
       {X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_REVOKED, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        X509_V_ERR_INVALID_PURPOSE, X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_CERT_REJECTED,
        X509_V_ERR_APPLICATION_VERIFICATION}) {
    verdict_ = error;
    EXPECT_EQ(connect(), Engine::Status::failed);
    EXPECT_EQ(name_of(client_->failure().failure), "rejected_by_peer") << client_->failure().reason;
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, OurClientCertificate, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

// --- a client's certificate ---

// A server that asks for certificates, and a client's certificate that a test case changes before it is
// issued.
struct ClientScene {
  Site site;
  Identity stranger = pgveil::test::authority("Unknown Root");
  CertificateRequest request = app();
  ServerSettings settings = site.server_settings();
  // The certificate that the client sends; null: none.
  std::shared_ptr<Identity> leaf;
  std::vector<std::shared_ptr<Identity>> intermediates;

  ClientScene() { settings.ssl_ca_file = site.folder.path("root.crt"); }
  void issue_by(const Identity& issuer) { leaf = std::make_shared<Identity>(issued_by(issuer, request)); }
  void issue() { issue_by(site.root); }
  Identity& add_intermediate(CertificateRequest of = authority_named("Test Intermediate")) {
    intermediates.push_back(std::make_shared<Identity>(issued_by(site.root, of)));
    return *intermediates.back();
  }
  void crls(const std::vector<std::string>& pems) {
    std::string all;
    for (const auto& pem : pems) all += pem;
    settings.ssl_crl_file = site.folder.write("clients.crl", all);
  }
  // Makes a directory with a CRL, as `openssl rehash` names it.
  void crl_directory(const Identity& issuer, const std::vector<const Identity*>& revoked) {
    site.folder.write(crl_file_name(issuer), crl_pem(issuer, revoked));
    settings.ssl_crl_dir = site.folder.path(".");
  }
};

std::vector<const Identity*> intermediates_of(const ClientScene& scene) {
  std::vector<const Identity*> chain;
  for (const auto& intermediate : scene.intermediates) chain.push_back(intermediate.get());
  return chain;
}

// Returns the verdict of the server's context on the certificate of the scene, without a handshake.
std::string verdict_without_handshake(const ClientScene& scene) {
  return text_of(Site::build(scene.settings)->verify(peer_chain_of(*scene.leaf, intermediates_of(scene))));
}

Acceptance connect(const ClientScene& scene, int version) {
  const auto client = openssl_client();
  SSL_CTX_set_min_proto_version(client.get(), version);
  SSL_CTX_set_max_proto_version(client.get(), version);
  const auto chain = intermediates_of(scene);
  if (scene.leaf) show(client.get(), *scene.leaf, chain);
  return accept(Site::build(scene.settings), client.get());
}

struct Taken {
  const char* name;
  std::function<void(ClientScene&)> prepare;
  const char* subject;  // nullptr: no certificate
};
void PrintTo(const Taken& row, std::ostream* out) {
  *out << row.name;
}

class GoodClientCertificate : public testing::TestWithParam<Taken> {};

TEST_P(GoodClientCertificate, IsTaken) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ClientScene scene;
    GetParam().prepare(scene);
    const auto accepted = connect(scene, version);
    ASSERT_EQ(accepted.status, Engine::Status::ready)
        << accepted.server->failure().reason << ' ' << accepted.server->failure().detail;
    const auto peer = accepted.server->agreed().peer;
    ASSERT_EQ(peer.has_value(), GetParam().subject != nullptr);
    if (peer) {
      EXPECT_EQ(peer->subject, GetParam().subject);
      EXPECT_EQ(verdict_without_handshake(scene), "valid");
    }
  }
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Chains, GoodClientCertificate, testing::Values(
    Taken{"OfTheAuthority", [](ClientScene& s) { s.issue(); }, "CN=app"},
    Taken{"OfAnIntermediateThatIsSent", [](ClientScene& s) { s.issue_by(s.add_intermediate()); }, "CN=app"},
    Taken{"OfAnIntermediateInTheAuthorityFile",
          [](ClientScene& s) {
            s.issue_by(s.add_intermediate());
            s.settings.ssl_ca_file = s.site.folder.write(
                "ca.crt", s.site.root.certificate_pem() + s.intermediates[0]->certificate_pem());
            s.intermediates.clear();
          },
          "CN=app"},
    Taken{"ForClients",
          [](ClientScene& s) {
            s.request.extended_key_usage = "clientAuth";
            s.issue();
          },
          "CN=app"},
    Taken{"WithoutASubject",
          [](ClientScene& s) {
            s.request.common_names.clear();
            s.request.alternative_names = {pgveil::test::uri("spiffe://prod/app")};
            s.issue();
          },
          ""},
    Taken{"NotRevoked",
          [](ClientScene& s) {
            s.issue();
            s.crls({crl_pem(s.site.root, {})});
          },
          "CN=app"},
    Taken{"NotRevokedInADirectory",
          [](ClientScene& s) {
            s.issue();
            s.crl_directory(s.site.root, {});
          },
          "CN=app"},
    Taken{"NeitherItNorItsIssuerRevoked",
          [](ClientScene& s) {
            const Identity& intermediate = s.add_intermediate();
            s.issue_by(intermediate);
            s.crls({crl_pem(s.site.root, {}), crl_pem(intermediate, {})});
          },
          "CN=app"},
    // The rules decide which clients must have a certificate, after the StartupMessage.
    Taken{"Missing", [](ClientScene&) {}, nullptr},
    Taken{"MissingWhereThereAreCrls", [](ClientScene& s) { s.crls({crl_pem(s.site.root, {})}); }, nullptr}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct RefusedClient {
  const char* name;
  std::function<void(ClientScene&)> prepare;
  Failure failure;
  int depth;
  const char* subject;
  const char* issuer;
  const char* detail;  // a part of the detail
  const char* alert;   // the name in the client's OpenSSL
};
void PrintTo(const RefusedClient& row, std::ostream* out) {
  *out << row.name;
}

class BadClientCertificate : public testing::TestWithParam<RefusedClient> {};

TEST_P(BadClientCertificate, IsRefusedWithItsReason) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ClientScene scene;
    GetParam().prepare(scene);
    if (!scene.leaf) scene.issue();
    const auto accepted = connect(scene, version);
    EXPECT_EQ(accepted.status, Engine::Status::failed);
    const FailureReport& report = accepted.server->failure();
    EXPECT_EQ(name_of(report.failure), name_of(GetParam().failure)) << report.reason;
    EXPECT_EQ(report.depth, GetParam().depth);
    EXPECT_EQ(report.subject, GetParam().subject);
    EXPECT_EQ(report.issuer, GetParam().issuer);
    EXPECT_NE(report.detail.find(GetParam().detail), std::string::npos) << report.detail;
    ASSERT_NE(report.peer, nullptr) << "the certificate that the client has shown";
    EXPECT_EQ(report.peer->sha256_fingerprint, fingerprint_of(scene.leaf->certificate()));
    EXPECT_FALSE(report.peer->serial.empty());
    EXPECT_TRUE(accepted.client->error().ends_with(GetParam().alert)) << accepted.client->error();
    EXPECT_EQ(verdict_without_handshake(scene), text_of(report));
  }
}

constexpr const char* kRoot = "CN=Test Root";

// clang-format off
INSTANTIATE_TEST_SUITE_P(Chains, BadClientCertificate, testing::Values(
    RefusedClient{"OfAnUnknownAuthority", [](ClientScene& s) { s.issue_by(s.stranger); },
                  Failure::untrusted_issuer, 0, "CN=app", "CN=Unknown Root",
                  R"(The certificate of "CN=app" was issued by "CN=Unknown Root", which leads to no trusted authority)",
                  "alert unknown ca"},
    RefusedClient{"SelfSigned", [](ClientScene& s) { s.leaf = std::make_shared<Identity>(self_signed(s.request)); },
                  Failure::untrusted_issuer, 0, "CN=app", "CN=app", "self-signed certificate", "alert unknown ca"},
    RefusedClient{"IntermediateIsNotSent",
                  [](ClientScene& s) {
                    s.issue_by(s.add_intermediate());
                    s.intermediates.clear();
                  },
                  Failure::untrusted_issuer, 0, "CN=app", "CN=Test Intermediate", "leads to no trusted authority",
                  "alert unknown ca"},
    RefusedClient{"OfAnAuthorityOfTheSameName", [](ClientScene& s) { s.issue_by(pgveil::test::authority("Test Root")); },
                  Failure::invalid_certificate, 0, "CN=app", kRoot, "certificate signature failure", "alert decrypt error"},
    RefusedClient{"Expired", [](ClientScene& s) { s.request.not_after = -1min; },
                  Failure::expired, 0, "CN=app", kRoot, R"(The certificate of "CN=app" expired on 20)",
                  "alert certificate expired"},
    RefusedClient{"NotYetValid", [](ClientScene& s) { s.request.not_before = 1h; },
                  Failure::not_yet_valid, 0, "CN=app", kRoot, R"(The certificate of "CN=app" is not valid before 20)",
                  "alert bad certificate"},
    RefusedClient{"IssuerExpired",
                  [](ClientScene& s) {
                    auto request = authority_named("Test Intermediate");
                    request.not_after = -1min;
                    s.issue_by(s.add_intermediate(request));
                  },
                  Failure::expired, 1, "CN=Test Intermediate", kRoot, "expired on 20", "alert certificate expired"},
    RefusedClient{"ExpiredWithoutASubject",
                  [](ClientScene& s) {
                    s.request.common_names.clear();
                    s.request.alternative_names = {pgveil::test::uri("spiffe://prod/\napp")};
                    s.request.not_after = -1min;
                  },
                  Failure::expired, 0, "", kRoot, R"(The certificate for "spiffe://prod/\x0aapp" expired on 20)",
                  "alert certificate expired"},
    RefusedClient{"ForServersOnly", [](ClientScene& s) { s.request.extended_key_usage = "serverAuth"; },
                  Failure::wrong_purpose, 0, "CN=app", kRoot, R"(The certificate of "CN=app" was refused: )",
                  "alert unsupported certificate"},
    RefusedClient{"IssuedByAClient",
                  [](ClientScene& s) {
                    CertificateRequest request;
                    request.common_names = {"No Authority"};
                    s.issue_by(s.add_intermediate(request));
                  },
                  Failure::wrong_purpose, 1, "CN=No Authority", kRoot, "invalid CA certificate", "alert unknown ca"},
    RefusedClient{"WeakKey", [](ClientScene& s) { s.request.key = pgveil::test::KeyKind::rsa768; },
                  Failure::weak, 0, "CN=app", kRoot, "key too weak", "alert bad certificate"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Revocation, BadClientCertificate, testing::Values(
    RefusedClient{"Revoked",
                  [](ClientScene& s) {
                    s.issue();
                    s.crls({crl_pem(s.site.root, {s.leaf.get()})});
                  },
                  Failure::revoked, 0, "CN=app", kRoot, R"("CN=app" was revoked by its issuer "CN=Test Root")",
                  "alert certificate revoked"},
    RefusedClient{"RevokedInADirectory",
                  [](ClientScene& s) {
                    s.issue();
                    s.crl_directory(s.site.root, {s.leaf.get()});
                  },
                  Failure::revoked, 0, "CN=app", kRoot, "was revoked", "alert certificate revoked"},
    RefusedClient{"IssuerRevoked",
                  [](ClientScene& s) {
                    const Identity& intermediate = s.add_intermediate();
                    s.issue_by(intermediate);
                    s.crls({crl_pem(s.site.root, {&intermediate}), crl_pem(intermediate, {})});
                  },
                  Failure::revoked, 1, "CN=Test Intermediate", kRoot, "was revoked", "alert certificate revoked"},
    RefusedClient{"NoCrlOfTheIntermediate",
                  [](ClientScene& s) {
                    s.issue_by(s.add_intermediate());
                    s.crls({crl_pem(s.site.root, {})});
                  },
                  Failure::crl_unusable, 0, "CN=app", "CN=Test Intermediate", R"(a CRL of "CN=Test Intermediate")",
                  "alert unknown ca"},
    RefusedClient{"NoCrlOfTheRoot",
                  [](ClientScene& s) {
                    const Identity& intermediate = s.add_intermediate();
                    s.issue_by(intermediate);
                    s.crls({crl_pem(intermediate, {})});
                  },
                  Failure::crl_unusable, 1, "CN=Test Intermediate", kRoot, R"(a CRL of "CN=Test Root")",
                  "alert unknown ca"},
    RefusedClient{"CrlExpired", [](ClientScene& s) { s.crls({crl_pem(s.site.root, {}, -1min)}); },
                  Failure::crl_unusable, 0, "CN=app", kRoot, "CRL has expired", "alert certificate expired"},
    RefusedClient{"CrlOfAnImpostor",
                  [](ClientScene& s) { s.crls({crl_pem(pgveil::test::authority("Test Root"), {})}); },
                  Failure::crl_unusable, 0, "CN=app", kRoot, "CRL signature failure", "alert decrypt error"},
    // OpenSSL without our checks would trust it.
    RefusedClient{"AuthorityLiesBesideTheCrls",
                  [](ClientScene& s) {
                    s.issue_by(s.stranger);
                    s.crl_directory(s.stranger, {});
                    std::string name = crl_file_name(s.stranger);
                    name.erase(name.find(".r") + 1, 1);
                    s.site.folder.write(name, s.stranger.certificate_pem());
                  },
                  Failure::untrusted_issuer, 0, "CN=app", "CN=Unknown Root", "leads to no trusted authority",
                  "alert unknown ca"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ClientsCertificate, IsAskedForUnderTheNamesOfTheAuthorities) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ClientScene scene;
    scene.settings.ssl_ca_file = scene.site.folder.write(
        "ca.crt", scene.site.root.certificate_pem() + scene.stranger.certificate_pem());
    const auto accepted = connect(scene, version);
    const auto* names = SSL_get0_peer_CA_list(accepted.client->ssl());
    ASSERT_EQ(sk_X509_NAME_num(names), 2);
    std::vector<std::string> told;
    for (int i = 0; i < 2; ++i) told.push_back(common_name_of(sk_X509_NAME_value(names, i)));
    std::sort(told.begin(), told.end());
    EXPECT_EQ(told, (std::vector<std::string>{"Test Root", "Unknown Root"}));
  }
}

TEST(ClientsCertificateWithoutAuthorities, IsNotAskedFor) {
  const Site site;
  auto server = site.engine_to_client();
  const auto context = openssl_client();
  OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
  Bytes to_server;
  Bytes to_client;
  client.handshake({}, to_server);
  (void)server.handshake(to_server, to_client);
  client.handshake(to_client, to_server);
  EXPECT_EQ(SSL_get_client_CA_list(client.ssl()), nullptr);
}

}  // namespace
}  // namespace pgveil::tls::test
