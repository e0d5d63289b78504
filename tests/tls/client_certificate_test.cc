// Certificates of clients: ours, shown to an OpenSSL server, and an OpenSSL client's, shown to us.
#include <gtest/gtest.h>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;

CertificateRequest app() {
  CertificateRequest request;
  request.common_names = {"app"};
  return request;
}

// --- ours ---

class OurClientCertificate : public testing::TestWithParam<int> {
 protected:
  OurClientCertificate() {
    SSL_CTX_set_max_proto_version(context_.get(), GetParam());
    // Takes every certificate, or finds `verdict_` with it.
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

  // The handshake and the first read: under TLS 1.3 a client is done before the server has judged it.
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

TEST_P(OurClientCertificate, IsMissedByTheServer) {
  EXPECT_EQ(connect(), Engine::Status::failed);
  EXPECT_EQ(name_of(client_->failure().failure), "rejected_by_peer") << client_->failure().reason;
}

// Every alert by which an OpenSSL server says what it has against a certificate.
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

// --- a client's ---

class ClientsCertificate : public testing::TestWithParam<int> {
 protected:
  Engine::Status connect(const Identity* shown) {
    auto settings = site_.server_settings();
    settings.ssl_ca_file = site_.folder.path("root.crt");
    server_ = std::make_unique<EngineEnd>(Engine::to_client(Site::build(settings), false));
    const auto context = openssl_client();
    SSL_CTX_set_max_proto_version(context.get(), GetParam());
    if (shown != nullptr) {
      SSL_CTX_use_certificate(context.get(), shown->certificate());
      SSL_CTX_use_PrivateKey(context.get(), shown->key());
    }
    client_ = std::make_unique<OpenSslEnd>(context.get(), OpenSslEnd::Side::client);
    Bytes to_server;
    Bytes to_client;
    client_->handshake({}, to_server);
    (void)server_->handshake(to_server, to_client);
    to_server.clear();
    client_->handshake(to_client, to_server);
    to_client.clear();
    const auto status = server_->handshake(to_server, to_client);
    client_->read(to_client);
    return status;
  }

  Site site_;
  std::unique_ptr<EngineEnd> server_;
  std::unique_ptr<OpenSslEnd> client_;
};

TEST_P(ClientsCertificate, IsTakenFromATrustedAuthority) {
  const Identity good = issued_by(site_.root, app());
  ASSERT_EQ(connect(&good), Engine::Status::ready) << server_->failure().reason;
  const auto agreed = server_->engine().established();
  ASSERT_TRUE(agreed.peer);
  EXPECT_EQ(agreed.peer->subject, "CN=app");
}

TEST_P(ClientsCertificate, MayBeMissing) {
  ASSERT_EQ(connect(nullptr), Engine::Status::ready) << server_->failure().reason;
  EXPECT_FALSE(server_->engine().established().peer);
}

// A certificate that is shown must be good, also where none is needed.
TEST_P(ClientsCertificate, MustBeOfATrustedAuthority) {
  const Identity bad = self_signed(app());
  EXPECT_EQ(connect(&bad), Engine::Status::failed);
  EXPECT_EQ(name_of(server_->failure().failure), "untrusted_issuer");
  EXPECT_EQ(server_->failure().subject, "CN=app");
  EXPECT_NE(client_->error().find("alert unknown ca"), std::string::npos) << client_->error();
}

TEST_P(ClientsCertificate, MustNotHaveExpired) {
  auto request = app();
  request.not_after = -1min;
  const Identity bad = issued_by(site_.root, request);
  EXPECT_EQ(connect(&bad), Engine::Status::failed);
  EXPECT_EQ(name_of(server_->failure().failure), "expired");
}

TEST_P(ClientsCertificate, MustBeForClients) {
  auto request = app();
  request.extended_key_usage = "serverAuth";
  const Identity bad = issued_by(site_.root, request);
  EXPECT_EQ(connect(&bad), Engine::Status::failed);
  EXPECT_EQ(name_of(server_->failure().failure), "wrong_purpose");
}

TEST_P(ClientsCertificate, IsAskedForUnderTheNameOfItsAuthority) {
  (void)connect(nullptr);
  const auto* names = SSL_get0_peer_CA_list(client_->ssl());
  ASSERT_EQ(sk_X509_NAME_num(names), 1);
  EXPECT_EQ(X509_NAME_cmp(sk_X509_NAME_value(names, 0), X509_get_subject_name(site_.root.certificate())), 0);
}

INSTANTIATE_TEST_SUITE_P(Versions, ClientsCertificate, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

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
