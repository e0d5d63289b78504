// The chain of a peer that a connection keeps, and its verification by a later context.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;

Identity authority_below(const Identity& root) {
  CertificateRequest request = named("Test Intermediate");
  request.authority = true;
  return issued_by(root, request);
}

class AKeptChain : public testing::TestWithParam<int> {
 protected:
  // Returns what our server keeps of a client that sends `leaf` and `others`.
  Established accept_client(const Identity* leaf, const std::vector<const Identity*>& others = {}) {
    const auto client = openssl_client();
    limit_version(client.get());
    if (leaf != nullptr) show(client.get(), *leaf, others);
    const auto accepted = accept(Site::build(server_), client.get());
    EXPECT_EQ(accepted.status, Engine::Status::ready) << accepted.server->failure().detail;
    return accepted.server->agreed();
  }
  // Returns what our client keeps of a server.
  Established connect_to_server(const Identity& leaf, const std::vector<const Identity*>& others = {}) {
    const auto context = openssl_server(leaf, others);
    limit_version(context.get());
    OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
    EngineEnd client(Engine::to_server(Site::build(client_), {.host = Site::kHost}));
    EXPECT_EQ(shake_hands(client, server), Engine::Status::ready) << client.failure().detail;
    return client.agreed();
  }

  static void limit_version(SSL_CTX* context) {
    SSL_CTX_set_min_proto_version(context, GetParam());
    SSL_CTX_set_max_proto_version(context, GetParam());
  }
  static ServerSettings server_settings(const Site& site) {
    ServerSettings settings = site.server_settings();
    settings.ssl_ca_file = site.folder.path("root.crt");
    settings.keep_peer_chain = true;
    return settings;
  }
  static ClientSettings client_settings(const Site& site) {
    ClientSettings settings = site.client_settings();
    settings.keep_peer_chain = true;
    return settings;
  }

  Site site_;
  ServerSettings server_ = server_settings(site_);
  ClientSettings client_ = client_settings(site_);
};

TEST_P(AKeptChain, IsThatOfTheClient) {
  const Identity intermediate = authority_below(site_.root);
  const Identity app = issued_by(intermediate, named("app"));
  const auto kept = accept_client(&app, {&intermediate});
  ASSERT_NE(kept.peer_chain, nullptr);
  EXPECT_EQ(*kept.peer_chain, peer_chain_of(app, {&intermediate}));
}

TEST_P(AKeptChain, IsThatOfTheServer) {
  const Identity intermediate = authority_below(site_.root);
  CertificateRequest request = named("db");
  request.alternative_names = {pgveil::test::dns(Site::kHost)};
  const Identity db = issued_by(intermediate, request);
  const auto kept = connect_to_server(db, {&intermediate});
  ASSERT_NE(kept.peer_chain, nullptr);
  EXPECT_EQ(*kept.peer_chain, peer_chain_of(db, {&intermediate}));
}

TEST_P(AKeptChain, IsMissingIfNobodyAsksForIt) {
  server_.keep_peer_chain = client_.keep_peer_chain = false;
  const Identity app = issued_by(site_.root, named("app"));
  const auto of_client = accept_client(&app);
  EXPECT_TRUE(of_client.peer.has_value());
  EXPECT_EQ(of_client.peer_chain, nullptr);
  EXPECT_EQ(connect_to_server(site_.server).peer_chain, nullptr);
}

TEST_P(AKeptChain, IsMissingIfTheClientHasSentNone) {
  EXPECT_EQ(accept_client(nullptr).peer_chain, nullptr);
}

// Otherwise each client could make us keep 100 KiB.
TEST_P(AKeptChain, LacksWhatTheVerificationDidNotUseIfItIsLarge) {
  const Identity intermediate = authority_below(site_.root);
  const Identity app = issued_by(intermediate, named("app"));
  CertificateRequest large = named("ballast");
  for (int i = 0; i < 500; ++i) large.alternative_names.push_back(pgveil::test::dns("ballast.example.com"));
  const Identity ballast = self_signed(large);
  const auto kept = accept_client(&app, {&ballast, &ballast, &intermediate});
  ASSERT_NE(kept.peer_chain, nullptr);
  EXPECT_EQ(*kept.peer_chain, peer_chain_of(app, {&intermediate, &site_.root}));
  EXPECT_EQ(text_of(Site::build(server_)->verify(*kept.peer_chain)), "valid");
}

TEST_P(AKeptChain, OfAClientIsJudgedByALaterContext) {
  const Identity app = issued_by(site_.root, named("app"));
  const auto chain = accept_client(&app).peer_chain;
  ASSERT_NE(chain, nullptr);
  EXPECT_EQ(text_of(Site::build(server_)->verify(*chain)), "valid");

  ServerSettings with_crl = server_;
  with_crl.ssl_crl_file = site_.folder.write("none.crl", crl_pem(site_.root, {}));
  EXPECT_EQ(text_of(Site::build(with_crl)->verify(*chain)), "valid");
  with_crl.ssl_crl_file = site_.folder.write("app.crl", crl_pem(site_.root, {&app}));
  const auto revoked = Site::build(with_crl)->verify(*chain);
  ASSERT_TRUE(revoked.has_value());
  EXPECT_EQ(revoked->failure, Failure::revoked);

  ServerSettings other_authority = server_;
  other_authority.ssl_ca_file =
      site_.folder.write("other.crt", pgveil::test::authority("Other Root").certificate_pem());
  const auto untrusted = Site::build(other_authority)->verify(*chain);
  ASSERT_TRUE(untrusted.has_value());
  EXPECT_EQ(untrusted->failure, Failure::untrusted_issuer);
}

TEST_P(AKeptChain, OfAServerIsJudgedByALaterContext) {
  const auto chain = connect_to_server(site_.server).peer_chain;
  ASSERT_NE(chain, nullptr);
  const auto context = Site::build(client_);
  EXPECT_EQ(text_of(context->verify(*chain, Site::kHost)), "valid");
  const auto other_host = context->verify(*chain, "other.example.com");
  ASSERT_TRUE(other_host.has_value());
  EXPECT_EQ(other_host->failure, Failure::wrong_name);

  ClientSettings other_authority = client_;
  other_authority.sslrootcert =
      site_.folder.write("other.crt", pgveil::test::authority("Other Root").certificate_pem());
  const auto untrusted = Site::build(other_authority)->verify(*chain, Site::kHost);
  ASSERT_TRUE(untrusted.has_value());
  EXPECT_EQ(untrusted->failure, Failure::untrusted_issuer);
}

TEST_P(AKeptChain, OfAClientIsRefusedFromAServer) {
  CertificateRequest request = named("app");
  request.extended_key_usage = "clientAuth";
  const Identity app = issued_by(site_.root, request);
  const auto wrong_purpose = Site::build(client_)->verify(peer_chain_of(app), "app");
  ASSERT_TRUE(wrong_purpose.has_value());
  EXPECT_EQ(wrong_purpose->failure, Failure::wrong_purpose);
}

// The context that has verified a certificate refuses it once it has expired.
TEST_P(AKeptChain, IsJudgedAtThePresentTime) {
  CertificateRequest request = named("app");
  request.not_after = 2s;
  const Identity app = issued_by(site_.root, request);
  const auto chain = accept_client(&app).peer_chain;
  ASSERT_NE(chain, nullptr);
  const auto context = Site::build(server_);
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  auto verdict = context->verify(*chain);
  while (!verdict && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(50ms);
    verdict = context->verify(*chain);
  }
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->failure, Failure::expired);
}

INSTANTIATE_TEST_SUITE_P(Versions, AKeptChain, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
