// The key share that is sent to a server after its first reply. The servers are OpenSSL's, and record what
// they receive.
#include "tls/internal/key_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using Names = std::vector<std::string>;
using Choice = KeyShares::Choice;

// Returns the 16-bit numbers of a list after its length, as in RFC 8446, 4.2.7; or the groups of its shares,
// as in 4.2.8.
std::vector<unsigned> numbers_of(SSL* ssl, unsigned extension) {
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  std::vector<unsigned> numbers;
  if (SSL_client_hello_get0_ext(ssl, extension, &data, &size) != 1) return numbers;
  const auto number = [&](std::size_t place) { return data[place] * 256U + data[place + 1]; };
  const bool shares = extension == TLSEXT_TYPE_key_share;
  for (std::size_t place = 2; place < size; place += shares ? 4 + number(place + 2) : 2)
    numbers.push_back(number(place));
  return numbers;
}

// A server of TLS 1.3 that accepts certain groups, records the offered groups, and counts the ClientHellos of
// a handshake: the second one is the reply to a HelloRetryRequest.
class Server {
 public:
  Server(const Identity& identity, const char* groups) : context_(openssl_server(identity)) {
    take(groups);
    SSL_CTX_set_client_hello_cb(
        context_.get(),
        [](SSL* ssl, int*, void* self) {
          auto& server = *static_cast<Server*>(self);
          ++server.hellos_;
          server.offered_ = numbers_of(ssl, TLSEXT_TYPE_supported_groups);
          server.shared_ = numbers_of(ssl, TLSEXT_TYPE_key_share);
          return SSL_CLIENT_HELLO_SUCCESS;
        },
        this);
  }

  // Sets the groups, in the format of PostgreSQL's ssl_groups.
  void take(const char* groups) {
    if (SSL_CTX_set1_groups_list(context_.get(), groups) != 1) throw std::runtime_error(groups);
  }

  SSL_CTX* context() { return context_.get(); }
  // Returns the number since the last call.
  int hellos() { return std::exchange(hellos_, 0); }
  // The groups in the last ClientHello, under IANA's numbers.
  [[nodiscard]] const std::vector<unsigned>& offered() const { return offered_; }
  [[nodiscard]] const std::vector<unsigned>& shared() const { return shared_; }

 private:
  SslContext context_;
  int hellos_ = 0;
  std::vector<unsigned> offered_;
  std::vector<unsigned> shared_;
};

class KeySharesTest : public testing::Test {
 protected:
  // Returns the round trips of a further handshake until the server is authenticated, or -1 if it fails.
  int connect(Server& server, KeyShares::Clock::time_point now = {}) { return connect(shares_, server, now); }

  int connect(KeyShares& shares, Server& server, KeyShares::Clock::time_point now = {}) {
    OpenSslEnd client(client_context_.get(), OpenSslEnd::Side::client);
    OpenSslEnd peer(server.context(), OpenSslEnd::Side::server);
    choice_ = shares.choose(client.ssl(), host_, now);
    Bytes to_server;
    Bytes to_client;
    bool is_done = client.handshake({}, to_server);
    for (int turn = 0; turn < 4 && !is_done; ++turn) {
      (void)peer.handshake(std::exchange(to_server, {}), to_client);
      is_done = client.handshake(std::exchange(to_client, {}), to_server);
    }
    if (!is_done) {
      shares.forget(host_);
      return -1;
    }
    group_ = SSL_group_to_name(client.ssl(), static_cast<int>(SSL_get_negotiated_group(client.ssl())));
    shares.learn(client.ssl(), host_, choice_, now);
    return server.hellos();
  }

  Site site_;
  SslContext client_context_ = openssl_client();
  KeyShares shares_{client_context_.get()};
  std::string host_ = Site::kHost;
  Choice choice_ = Choice::own;
  std::string group_;
};

TEST_F(KeySharesTest, BeginWithWhatOpenSslOffers) {
  ASSERT_FALSE(shares_.shared().empty());
  EXPECT_EQ(shares_.shared().front(), shares_.offered().front());
  for (const char* group : {"x25519", "secp256r1", "secp384r1"})
    EXPECT_NE(std::ranges::find(shares_.offered(), group), shares_.offered().end()) << group;
}

TEST_F(KeySharesTest, AreThoseOfTheContext) {
  SSL_CTX_set1_groups_list(client_context_.get(), "P-384:P-256");
  const KeyShares shares(client_context_.get());
  EXPECT_EQ(shares.offered(), (Names{"secp384r1", "secp256r1"}));
  EXPECT_EQ(shares.shared(), Names{"secp384r1"});
}

TEST_F(KeySharesTest, OfAnotherGroupCostOneRoundTripOnce) {
  Server server(site_.server, "P-256");  // PostgreSQL's default up to 17
  EXPECT_EQ(connect(server), 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(connect(server), 1);
    EXPECT_EQ(choice_, Choice::remembered);
    EXPECT_EQ(group_, "secp256r1");
  }
}

TEST_F(KeySharesTest, AreOpenSslsOwnWhereThatIsTakenAndTheOnlyOne) {
  SSL_CTX_set1_groups_list(client_context_.get(), "X25519:P-256");
  KeyShares shares(client_context_.get());
  Server server(site_.server, "P-256:X25519");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(connect(shares, server), 1);
    EXPECT_EQ(choice_, Choice::own);
  }
}

TEST_F(KeySharesTest, StillOfferEveryGroup) {
  Server server(site_.server, "P-256");
  EXPECT_EQ(connect(server), 2);
  server.take("P-384");  // not the remembered group
  EXPECT_EQ(connect(server), 2);
  EXPECT_EQ(choice_, Choice::remembered);
  EXPECT_EQ(group_, "secp384r1");
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(group_, "secp384r1");
}

// Compares numbers with a connection for which nothing was remembered: KeyShares's own report is not used.
TEST_F(KeySharesTest, AreOneWhereOneIsRememberedAndTheOtherGroupsAreOfferedBehindIt) {
  Server willing(site_.server, shares_.shared().front().c_str());
  EXPECT_EQ(connect(willing), 1);
  std::vector<unsigned> expected = willing.offered();
  ASSERT_EQ(expected.size(), shares_.offered().size());

  constexpr unsigned kP384 = 0x0018;
  Server server(site_.server, "P-384");
  EXPECT_EQ(connect(server), 2);
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(server.shared(), std::vector{kP384});
  const auto chosen = std::ranges::find(expected, kP384);
  ASSERT_NE(chosen, expected.end());
  std::rotate(expected.begin(), chosen, chosen + 1);
  EXPECT_EQ(server.offered(), expected);
}

TEST_F(KeySharesTest, AreThoseOfEachHost) {
  Server one(site_.server, "P-256");
  Server other(site_.server, "P-384");
  for (const int round_trips : {2, 1}) {
    host_ = "one.example.com";
    EXPECT_EQ(connect(one), round_trips);
    host_ = "other.example.com";
    EXPECT_EQ(connect(other), round_trips);
  }
}

TEST_F(KeySharesTest, AreOpenSslsOwnAgainAfterAWhile) {
  const std::string best = shares_.shared().back();
  Server server(site_.server, "P-256");
  const KeyShares::Clock::time_point begin{};
  EXPECT_EQ(connect(server, begin), 2);
  // From now on the server accepts the share that it is sent, so its preference for another group is not
  // visible.
  server.take((best + ":P-256").c_str());
  EXPECT_EQ(connect(server, begin + KeyShares::kRememberedFor / 2), 1);
  EXPECT_EQ(group_, "secp256r1");
  EXPECT_EQ(connect(server, begin + KeyShares::kRememberedFor), 1);
  EXPECT_EQ(choice_, Choice::own);
  EXPECT_EQ(group_, best);
}

TEST_F(KeySharesTest, AreOpenSslsOwnAfterAFailure) {
  Server server(site_.server, "P-256");
  EXPECT_EQ(connect(server), 2);
  Server without_ciphers(site_.server, "P-256");
  SSL_CTX_set_ciphersuites(without_ciphers.context(), "");
  EXPECT_EQ(connect(without_ciphers), -1);
  EXPECT_EQ(choice_, Choice::remembered);
  EXPECT_EQ(connect(server), 2);
  EXPECT_EQ(choice_, Choice::own);
}

TEST_F(KeySharesTest, MeanNothingBeforeTls13) {
  Server server(site_.server, "P-256");
  SSL_CTX_set_max_proto_version(server.context(), TLS1_2_VERSION);
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(choice_, Choice::own);

  SSL_CTX_set_max_proto_version(client_context_.get(), TLS1_2_VERSION);
  const KeyShares none(client_context_.get());
  EXPECT_TRUE(none.shared().empty());
}

// --- post-quantum groups, if OpenSSL supports any (3.5) ---

class MlKem : public KeySharesTest {
 protected:
  static constexpr const char* kHybrid = "X25519MLKEM768";

  void SetUp() override {
    if (shares_.offered().front() != kHybrid) GTEST_SKIP() << "this OpenSSL offers no ML-KEM";
  }
};

TEST_F(MlKem, IsNotSentToAServerThatTakesX25519) {
  Server server(site_.server, "X25519:P-256");  // PostgreSQL 18's default
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(choice_, Choice::remembered);
  EXPECT_EQ(group_, "x25519");
}

TEST_F(MlKem, IsGotAtOnceFromAServerThatAsksForIt) {
  Server server(site_.server, "X25519");
  EXPECT_EQ(connect(server), 1);
  server.take("X25519MLKEM768 / X25519");  // requests the better group by HelloRetryRequest
  EXPECT_EQ(connect(server), 2);
  EXPECT_EQ(choice_, Choice::remembered);
  EXPECT_EQ(group_, kHybrid);
  EXPECT_EQ(connect(server), 1);
  EXPECT_EQ(group_, kHybrid);
  EXPECT_EQ(server.shared().size(), 1U);  // without the X25519 that OpenSSL would add
}

TEST_F(MlKem, IsGotAfterAWhileFromAServerThatBeginsToTakeIt) {
  Server server(site_.server, "X25519");
  const KeyShares::Clock::time_point begin{};
  EXPECT_EQ(connect(server, begin), 1);
  server.take("X25519MLKEM768:X25519");
  EXPECT_EQ(connect(server, begin + KeyShares::kRememberedFor), 1);
  EXPECT_EQ(group_, kHybrid);
  EXPECT_EQ(connect(server, begin + KeyShares::kRememberedFor * 3 / 2), 1);
  EXPECT_EQ(group_, kHybrid);
}

// --- in the engine ---

class EngineKeyShares : public testing::Test {
 protected:
  Engine::Status connect(const std::shared_ptr<const ClientContext>& context, Server& server) {
    EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
    OpenSslEnd peer(server.context(), OpenSslEnd::Side::server);
    return shake_hands(client, peer);
  }

  Site site_;
  Server server_{site_.server, "P-256"};
};

TEST_F(EngineKeyShares, AreRememberedFromOneConnectionToTheNext) {
  const auto context = Site::build(site_.client_settings());
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 2);
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 1);
}

TEST_F(EngineKeyShares, AreRememberedForAllCertificatesOfOurs) {
  const auto context = Site::build(site_.client_settings());
  CertificateRequest request;
  request.common_names = {"app"};
  const Identity own = issued_by(site_.root, request);
  const auto with_own = context->with_certificate(site_.folder.write("app.crt", own.certificate_pem()),
                                                  site_.folder.write("app.key", own.key_pem()));
  ASSERT_TRUE(with_own);
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 2);
  ASSERT_EQ(connect(*with_own, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 1);
}

TEST_F(EngineKeyShares, AreOpenSslsOwnAfterAFailedHandshake) {
  const auto context = Site::build(site_.client_settings());
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  Server without_ciphers(site_.server, "P-256");
  SSL_CTX_set_ciphersuites(without_ciphers.context(), "");
  ASSERT_EQ(connect(context, without_ciphers), Engine::Status::failed);
  EXPECT_EQ(server_.hellos(), 2);
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 2);
}

// A failure after the handshake does not depend on the share.
TEST_F(EngineKeyShares, StayAsTheyAreWhereASessionFailsAfterItsHandshake) {
  const auto context = Site::build(site_.client_settings());
  EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
  OpenSslEnd peer(server_.context(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(client, peer), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 2);
  std::string received;
  ASSERT_EQ(client.read(bytes_of("this is no record"), received), Engine::Status::failed);
  ASSERT_EQ(connect(context, server_), Engine::Status::ready);
  EXPECT_EQ(server_.hellos(), 1);
}

// An impostor of the server must not change what is remembered.
TEST_F(EngineKeyShares, AreNotLearntFromAServerThatIsRefused) {
  const auto context = Site::build(site_.client_settings());
  CertificateRequest request;
  request.common_names = {Site::kHost};
  const Identity impostor = pgveil::test::self_signed(request);
  Server lying(impostor, "P-384");
  ASSERT_EQ(connect(context, lying), Engine::Status::failed);
  EXPECT_EQ(lying.hellos(), 2);
  Server honest(site_.server, "P-384");
  ASSERT_EQ(connect(context, honest), Engine::Status::ready);
  EXPECT_EQ(honest.hellos(), 2);
}

}  // namespace
}  // namespace pgveil::tls::test
