// The parts of OpenSSL's connections that are freed, for tested and for unknown releases, with any release in
// the test.
#include "tls/internal/handshake_cleanup.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

constexpr unsigned long kUnknownRelease = 0x40100000UL;

struct Release {
  const char* name;
  unsigned long number;
  bool is_known;
};
void PrintTo(const Release& row, std::ostream* out) {
  *out << row.name;
}

class OpenSslRelease : public testing::TestWithParam<Release> {};

TEST_P(OpenSslRelease, IsKnownOrNot) {
  EXPECT_EQ(may_change_lent_objects(GetParam().number), GetParam().is_known);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Releases, OpenSslRelease, testing::Values(
    Release{"V1_1_1", 0x1010117fUL, false},
    Release{"V3_0_0", 0x30000000UL, true},
    Release{"V3_0_19", 0x30000130UL, true},
    Release{"V3_1_0", 0x30100000UL, false},
    Release{"V3_4_3", 0x30400030UL, false},
    Release{"V3_5_9", 0x30500090UL, true},
    Release{"V3_6_5", 0x30600050UL, true},
    Release{"V3_7_0", 0x30700000UL, false},
    Release{"V4_0_3", 0x40000030UL, true},
    Release{"V4_1_0", 0x40100000UL, false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// Both ends are OpenSSL's, and each sends a certificate.
class Leftovers : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    for (SSL_CTX* context : {client_context_.get(), server_context_.get()}) {
      SSL_CTX_set_min_proto_version(context, GetParam());
      SSL_CTX_set_max_proto_version(context, GetParam());
      SSL_CTX_set_num_tickets(context, 0);
      SSL_CTX_set1_groups_list(context, "X25519:P-256");  // keys of ML-KEM cannot be queried
    }
    show(client_context_.get(), site_.server);
    SSL_CTX_set_verify(server_context_.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
    client_ = std::make_unique<OpenSslEnd>(client_context_.get(), OpenSslEnd::Side::client);
    server_ = std::make_unique<OpenSslEnd>(server_context_.get(), OpenSslEnd::Side::server);
    Bytes to_server;
    Bytes to_client;
    bool client_done = client_->handshake({}, to_server);
    bool server_done = false;
    for (int turn = 0; turn < 4 && !(client_done && server_done); ++turn) {
      server_done = server_->handshake(std::exchange(to_server, {}), to_client);
      client_done = client_->handshake(std::exchange(to_client, {}), to_server);
    }
    ASSERT_TRUE(client_done && server_done) << client_->error() << server_->error();
  }

  void forget(unsigned long release) {
    for (SSL* ssl : {client_->ssl(), server_->ssl()}) {
      forget_key_exchange(ssl, release);
      forget_peer(ssl, release);
    }
  }

  // Tests the values that may still be queried, and data in both directions.
  void expect_to_work() {
    EXPECT_EQ(server_->read(client_->write("query")), "query");
    EXPECT_EQ(client_->read(server_->write("answer")), "answer");
    for (SSL* ssl : {client_->ssl(), server_->ssl()}) {
      EXPECT_EQ(SSL_version(ssl), GetParam());
      EXPECT_NE(SSL_get_current_cipher(ssl), nullptr);
    }
    if (GetParam() == TLS1_3_VERSION) {
      SSL_key_update(client_->ssl(), SSL_KEY_UPDATE_REQUESTED);
      EXPECT_EQ(server_->read(client_->write("more")), "more");
      EXPECT_EQ(client_->read(server_->write("answer")), "answer");
    }
    EXPECT_EQ(server_->read(client_->close()), "");
    EXPECT_NE(SSL_get_shutdown(server_->ssl()) & SSL_RECEIVED_SHUTDOWN, 0);
  }

  static Bytes secret_of(SSL* ssl) {
    const SSL_SESSION* session = SSL_get_session(ssl);
    Bytes secret(SSL_SESSION_get_master_key(session, nullptr, 0));
    SSL_SESSION_get_master_key(session, secret.data(), secret.size());
    return secret;
  }
  static bool is_zero(const Bytes& bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0; });
  }

  Site site_;
  SslContext client_context_ = openssl_client();
  SslContext server_context_ = openssl_server(site_.server);
  std::unique_ptr<OpenSslEnd> client_;
  std::unique_ptr<OpenSslEnd> server_;
};

TEST_P(Leftovers, AreFreedInAKnownRelease) {
  if (!may_change_lent_objects(OpenSSL_version_num())) GTEST_SKIP() << "this release is not a known one";
  forget(OpenSSL_version_num());
  for (SSL* ssl : {client_->ssl(), server_->ssl()}) {
    EXPECT_LE(sk_X509_num(SSL_get_peer_cert_chain(ssl)), 0);
    EXPECT_LE(sk_X509_num(SSL_get0_verified_chain(ssl)), 0);
    EXPECT_EQ(SSL_get0_peer_certificate(ssl), nullptr);
    EXPECT_TRUE(is_zero(secret_of(ssl)));
  }
  expect_to_work();
}

TEST_P(Leftovers, AreLeftAloneInAnotherRelease) {
  const X509* shown = SSL_get0_peer_certificate(client_->ssl());
  ASSERT_NE(shown, nullptr);
  // In TLS 1.3 the secret exists only after a ticket.
  if (GetParam() == TLS1_2_VERSION) {
    ASSERT_FALSE(is_zero(secret_of(client_->ssl()))) << "there is nothing to overwrite";
  }
  forget(kUnknownRelease);
  EXPECT_EQ(SSL_get0_peer_certificate(client_->ssl()), shown);
  for (SSL* ssl : {client_->ssl(), server_->ssl()}) {
    EXPECT_NE(SSL_get0_peer_certificate(ssl), nullptr);
    EXPECT_TRUE(is_zero(secret_of(ssl))) << "but for the secret, which has a function of its own";
  }
  EXPECT_GT(sk_X509_num(SSL_get_peer_cert_chain(client_->ssl())), 0);
  EVP_PKEY* key = nullptr;
  ASSERT_EQ(SSL_get_peer_tmp_key(client_->ssl(), &key), 1);
  const PrivateKey owner(key);
  EXPECT_GT(EVP_PKEY_get_bits(key), 0);
  expect_to_work();
}

INSTANTIATE_TEST_SUITE_P(Version, Leftovers, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
