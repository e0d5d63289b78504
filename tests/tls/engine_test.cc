// One connection in memory, with all ways to split its bytes: between our engine and OpenSSL, and between two
// engines.
#include "tls/engine.h"

#include <gtest/gtest.h>
#include <openssl/rand.h>

#include <array>
#include <string>
#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

std::string random_text(std::size_t size) {
  std::string text(size, '\0');
  RAND_bytes(reinterpret_cast<unsigned char*>(text.data()), static_cast<int>(size));
  return text;
}

// --- every way to split a conversation with OpenSSL ---

struct Way {
  const char* name;
  int version;
  std::size_t piece;  // the size of pieces that arrive at either end
  std::size_t room;   // the room for our engine's output in each call
};
void PrintTo(const Way& row, std::ostream* out) {
  *out << row.name;
}

class Conversation : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    server_context_ = openssl_server(site_.server);
    client_context_ = openssl_client();
    for (SSL_CTX* context : {server_context_.get(), client_context_.get()}) {
      SSL_CTX_set_min_proto_version(context, GetParam().version);
      SSL_CTX_set_max_proto_version(context, GetParam().version);
    }
  }

  // Both ends send long and short texts, and receive them unchanged.
  void expect_talk(EngineEnd& engine, OpenSslEnd& peer) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{5}, std::size_t{40'000}}) {
      const std::string text = random_text(size);
      std::string heard_by_peer;
      for (const auto& piece : cut(engine.write(text), GetParam().piece)) heard_by_peer += peer.read(piece);
      EXPECT_TRUE(heard_by_peer == text) << size;
      std::string heard_by_engine;
      for (const auto& piece : cut(peer.write(text), GetParam().piece)) {
        ASSERT_EQ(engine.read(piece, heard_by_engine), Engine::Status::want_input) << engine.failure().reason;
      }
      EXPECT_TRUE(heard_by_engine == text) << size;
    }
  }

  Site site_;
  SslContext server_context_;
  SslContext client_context_;
};

TEST_P(Conversation, WithAServerIsUnderstood) {
  auto client = site_.engine_to_server(GetParam().room);
  OpenSslEnd server(server_context_.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(client, server, GetParam().piece), Engine::Status::ready) << client.failure().reason;
  expect_talk(client, server);
}

TEST_P(Conversation, WithAClientIsUnderstood) {
  auto server = site_.engine_to_client(GetParam().room);
  OpenSslEnd client(client_context_.get(), OpenSslEnd::Side::client);
  Bytes hello;
  ASSERT_FALSE(client.handshake({}, hello));
  Bytes to_client;
  for (const auto& piece : cut(hello, GetParam().piece)) {
    ASSERT_EQ(server.handshake(piece, to_client), Engine::Status::want_input) << server.failure().reason;
  }
  Bytes to_server;
  for (const auto& piece : cut(to_client, GetParam().piece)) client.handshake(piece, to_server);
  auto status = Engine::Status::want_input;
  to_client.clear();
  for (const auto& piece : cut(to_server, GetParam().piece)) status = server.handshake(piece, to_client);
  ASSERT_EQ(status, Engine::Status::ready) << server.failure().reason;
  if (!to_client.empty()) client.handshake(to_client, to_server);
  expect_talk(server, client);
}

constexpr std::size_t kPlenty = 65'536;

// clang-format off
INSTANTIATE_TEST_SUITE_P(Ways, Conversation, testing::Values(
    Way{"Tls13Whole", TLS1_3_VERSION, kWhole, kPlenty},
    Way{"Tls12Whole", TLS1_2_VERSION, kWhole, kPlenty},
    Way{"Tls13OctetByOctet", TLS1_3_VERSION, 1, kPlenty},
    Way{"Tls12OctetByOctet", TLS1_2_VERSION, 1, kPlenty},
    Way{"Tls13OddPieces", TLS1_3_VERSION, 4'099, kPlenty},
    Way{"Tls12OddPieces", TLS1_2_VERSION, 4'099, kPlenty},
    Way{"Tls13RoomForSevenOctets", TLS1_3_VERSION, kWhole, 7},
    Way{"Tls12RoomForSevenOctets", TLS1_2_VERSION, kWhole, 7}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(Engine, UnderstandsAnotherEngine) {
  const Site site;
  auto client = site.engine_to_server();
  auto server = site.engine_to_client();
  ASSERT_TRUE(shake_hands(client, server)) << client.failure().reason << server.failure().reason;
  std::string received;
  EXPECT_EQ(server.read(client.write("SELECT 1"), received), Engine::Status::want_input);
  EXPECT_EQ(received, "SELECT 1");
}

TEST(Engine, PassesAMebibyteEachWayInOneCall) {
  const Site site;
  auto client = site.engine_to_server(ciphertext_room(1'048'576));
  auto server = site.engine_to_client(ciphertext_room(1'048'576));
  ASSERT_TRUE(shake_hands(client, server));
  const std::string text = random_text(1'048'576);
  std::string received;
  ASSERT_EQ(server.read(client.write(text), received), Engine::Status::want_input);
  EXPECT_TRUE(received == text);
  received.clear();
  ASSERT_EQ(client.read(server.write(text), received), Engine::Status::want_input);
  EXPECT_TRUE(received == text);
  EXPECT_EQ(client.times_out_of_room() + server.times_out_of_room(), 0) << "ciphertext_room() must be enough";
}

// --- calls on an established engine ---

class EngineCalls : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(shake_hands(client_, server_)); }

  Site site_;
  EngineEnd client_ = site_.engine_to_server();
  EngineEnd server_ = site_.engine_to_client();
  Bytes memory_ = Bytes(65'536);
  Outgoing out_ = Outgoing(memory_);
};

TEST_F(EngineCalls, ReadTakesManyRecordsAtOnce) {
  Bytes sent;
  for (const char* text : {"one ", "two ", "three"}) {
    const Bytes record = client_.write(text);
    sent.insert(sent.end(), record.begin(), record.end());
  }
  ByteView ciphertext(sent);
  Bytes plaintext(plaintext_room(sent.size()));
  const auto read = server_.engine().read(ciphertext, plaintext, out_);
  EXPECT_EQ(read.status, Engine::Status::want_input);
  EXPECT_EQ(std::string(plaintext.begin(), plaintext.begin() + 13), "one two three");
  EXPECT_EQ(read.size, 13U);
  EXPECT_TRUE(ciphertext.empty());
}

TEST_F(EngineCalls, ReadGoesOnInsideARecord) {
  const Bytes sent = client_.write("one two");
  ByteView ciphertext(sent);
  Bytes plaintext(4);
  auto read = server_.engine().read(ciphertext, plaintext, out_);
  EXPECT_EQ(read.status, Engine::Status::ready);
  EXPECT_EQ(std::string(plaintext.begin(), plaintext.end()), "one ");
  read = server_.engine().read(ciphertext, plaintext, out_);
  EXPECT_EQ(read.status, Engine::Status::want_input);
  EXPECT_EQ(read.size, 3U);
}

TEST_F(EngineCalls, ReadWantsInputWhereThereIsNone) {
  ByteView nothing;
  Bytes plaintext(100);
  const auto read = server_.engine().read(nothing, plaintext, out_);
  EXPECT_EQ(read.status, Engine::Status::want_input);
  EXPECT_EQ(read.size, 0U);
}

TEST_F(EngineCalls, ReadKeepsWhatIsDecryptedBeforeAFault) {
  Bytes sent = client_.write("good");
  Bytes spoiled = client_.write("bad");
  spoiled.back() ^= 1U;
  sent.insert(sent.end(), spoiled.begin(), spoiled.end());
  ByteView ciphertext(sent);
  Bytes plaintext(plaintext_room(sent.size()));
  const auto read = server_.engine().read(ciphertext, plaintext, out_);
  EXPECT_EQ(read.status, Engine::Status::failed);
  EXPECT_EQ(read.size, 4U);
  EXPECT_EQ(server_.failure().reason, "decryption failed or bad record mac");
}

TEST_F(EngineCalls, WriteSaysHowMuchItTook) {
  const Bytes text(50'000, 'x');
  ByteView plaintext(text);
  Outgoing small({memory_.data(), 20'000});
  EXPECT_EQ(client_.engine().write(plaintext, small), Engine::Status::want_room);
  EXPECT_EQ(small.room(), 0U);
  std::string received;
  ASSERT_EQ(server_.read({small.written().begin(), small.written().end()}, received),
            Engine::Status::want_input);
  EXPECT_GE(received.size(), kMaxRecordPlaintext);
  EXPECT_EQ(plaintext.size(), 50'000U - received.size());
}

TEST_F(EngineCalls, WriteOfNothingSendsNothing) {
  ByteView nothing;
  EXPECT_EQ(client_.engine().write(nothing, out_), Engine::Status::ready);
  EXPECT_TRUE(out_.written().empty());
}

TEST_F(EngineCalls, WriteLeavesWhatTheCallerHadWritten) {
  out_.append(bytes_of("before"));
  const Bytes text = bytes_of("text");
  ByteView plaintext(text);
  EXPECT_EQ(client_.engine().write(plaintext, out_), Engine::Status::ready);
  const auto written = out_.written();
  EXPECT_EQ(std::string(written.begin(), written.begin() + 6), "before");
  std::string received;
  (void)server_.read({written.begin() + 6, written.end()}, received);
  EXPECT_EQ(received, "text");
}

TEST_F(EngineCalls, HandshakeOfAnEstablishedEngineIsReady) {
  ByteView nothing;
  EXPECT_EQ(client_.engine().handshake(nothing, out_), Engine::Status::ready);
  EXPECT_TRUE(out_.written().empty());
}

TEST(Outgoing, TakesWhatFits) {
  Bytes memory(5);
  Outgoing out(memory);
  EXPECT_EQ(out.append(bytes_of("abc")), 3U);
  EXPECT_EQ(out.append(bytes_of("def")), 2U);
  EXPECT_EQ(out.room(), 0U);
  EXPECT_EQ(Bytes(out.written().begin(), out.written().end()), bytes_of("abcde"));
  out.clear();
  EXPECT_EQ(out.room(), 5U);
}

// --- the beginning and the end of a conversation ---

// A client may send its first message in one segment with its Finished.
TEST(Engine, LeavesWhatCameWithTheClientsFinishedToRead) {
  const Site site;
  auto server = site.engine_to_client();
  const auto context = openssl_client();
  OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
  Bytes to_server;
  Bytes to_client;
  client.handshake({}, to_server);
  ASSERT_EQ(server.handshake(to_server, to_client), Engine::Status::want_input);
  to_server.clear();
  ASSERT_TRUE(client.handshake(to_client, to_server));
  const Bytes startup = client.write("startup");
  to_server.insert(to_server.end(), startup.begin(), startup.end());
  ASSERT_EQ(server.handshake(to_server, to_client), Engine::Status::ready);
  EXPECT_EQ(server.early(), startup);
  std::string received;
  EXPECT_EQ(server.read(server.early(), received), Engine::Status::want_input);
  EXPECT_EQ(received, "startup");
}

TEST(Engine, AnswersAKeyUpdate) {
  const Site site;
  auto engine = site.engine_to_server();
  const auto context = openssl_server(site.server);
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, peer), Engine::Status::ready);
  ASSERT_EQ(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
  std::string received;
  ASSERT_EQ(engine.read(peer.write("new keys"), received), Engine::Status::want_input);
  EXPECT_EQ(received, "new keys");
  EXPECT_EQ(peer.read(engine.write("ours too")), "ours too");
}

TEST(Engine, FollowsAPeerThatChangesItsKeysAllTheTime) {
  const Site site;
  auto engine = site.engine_to_server();
  const auto context = openssl_server(site.server);
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, peer), Engine::Status::ready);
  for (int i = 0; i < 20; ++i) {
    SSL_key_update(peer.ssl(), i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    std::string received;
    ASSERT_EQ(engine.read(peer.write("theirs"), received), Engine::Status::want_input);
    ASSERT_EQ(received, "theirs");
    ASSERT_EQ(peer.read(engine.write("ours")), "ours");
  }
}

TEST(Engine, PassesOverTicketsThatComeLate) {
  const Site site;
  auto engine = site.engine_to_server();
  const auto context = openssl_server(site.server);
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, peer), Engine::Status::ready);
  ASSERT_EQ(SSL_new_session_ticket(peer.ssl()), 1);
  std::string received;
  EXPECT_EQ(engine.read(peer.write("behind it"), received), Engine::Status::want_input);
  EXPECT_EQ(received, "behind it");
}

// Returns the sizes of the records, without headers.
std::vector<std::size_t> record_sizes(const Bytes& bytes) {
  std::vector<std::size_t> sizes;
  for (std::size_t place = 0; place + 5 <= bytes.size(); place += 5 + sizes.back())
    sizes.push_back(std::size_t{bytes[place + 3]} << 8U | bytes[place + 4]);
  return sizes;
}

// RFC 6066, 4.
class RecordSizes : public testing::TestWithParam<int> {};

TEST_P(RecordSizes, AreNoLargerThanAClientAskedFor) {
  const Site site;
  const auto context = openssl_client();
  SSL_CTX_set_tlsext_max_fragment_length(context.get(), TLSEXT_max_fragment_length_512);
  SSL_CTX_set_max_proto_version(context.get(), GetParam());
  const auto [status, server, client] = accept(Site::build(site.server_settings()), context.get());
  ASSERT_EQ(status, Engine::Status::ready);
  const std::string text = random_text(1'500);
  const Bytes sent = server->write(text);
  for (const std::size_t size : record_sizes(sent)) EXPECT_LE(size, 512U + 24);
  EXPECT_TRUE(client->read(sent) == text);
}

INSTANTIATE_TEST_SUITE_P(Versions, RecordSizes, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

// RFC 8449: our record layer does not observe such a limit, so none may be negotiated. No release of OpenSSL
// supports the extension; a release that does needs a review of this.
TEST(Engine, AgreesOnNoRecordSizeLimit) {
  constexpr unsigned kRecordSizeLimit = 28;
  ASSERT_EQ(SSL_extension_supported(kRecordSizeLimit), 0);
  const Site site;
  const auto context = openssl_client();
  bool was_answered = false;
  const auto add = [](SSL*, unsigned, unsigned, const unsigned char** out, std::size_t* size, X509*,
                      std::size_t, int*, void*) {
    static constexpr std::array<unsigned char, 2> kLimit{2, 0};
    *out = kLimit.data();
    *size = kLimit.size();
    return 1;
  };
  const auto parse = [](SSL*, unsigned, unsigned, const unsigned char*, std::size_t, X509*, std::size_t, int*,
                        void* answered) {
    *static_cast<bool*>(answered) = true;
    return 1;
  };
  ASSERT_EQ(SSL_CTX_add_custom_ext(
                context.get(), kRecordSizeLimit,
                SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS, add,
                nullptr, nullptr, parse, &was_answered),
            1);
  const auto [status, server, client] = accept(Site::build(site.server_settings()), context.get());
  ASSERT_EQ(status, Engine::Status::ready);
  EXPECT_FALSE(was_answered);
  EXPECT_EQ(client->read(server->write("text")), "text");
}

// RFC 8879: a certificate would be decompressed before the peer is authenticated.
TEST(Engine, OffersNoCertificateCompression) {
  constexpr unsigned kCompressCertificate = 27;
  const Site site;
  const auto context = openssl_server(site.server);
  bool was_offered = true;
  SSL_CTX_set_client_hello_cb(
      context.get(),
      [](SSL* ssl, int*, void* offered) {
        const unsigned char* content = nullptr;
        std::size_t size = 0;
        *static_cast<bool*>(offered) =
            SSL_client_hello_get0_ext(ssl, kCompressCertificate, &content, &size) == 1;
        return SSL_CLIENT_HELLO_SUCCESS;
      },
      &was_offered);
  EngineEnd engine = site.engine_to_server();
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, peer), Engine::Status::ready);
  EXPECT_FALSE(was_offered);
}

// --- the cipher suites of TLS 1.3: those of our record layer, and the others ---

class Tls13Suites : public testing::TestWithParam<const char*> {};

TEST_P(Tls13Suites, AreSpokenToAServer) {
  const Site site;
  const auto context = openssl_server(site.server);
  ASSERT_EQ(SSL_CTX_set_ciphersuites(context.get(), GetParam()), 1);
  auto engine = site.engine_to_server();
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, server), Engine::Status::ready) << engine.failure().reason;
  EXPECT_EQ(engine.agreed().cipher, GetParam());
  const std::string text = random_text(20'000);
  EXPECT_TRUE(server.read(engine.write(text)) == text);
  std::string received;
  EXPECT_EQ(engine.read(server.write(text), received), Engine::Status::want_input);
  EXPECT_TRUE(received == text);
}

void expect_spoken_to_a_client(const char* suite) {
  const Site site;
  auto settings = site.server_settings();
  settings.ssl_tls13_ciphers = suite;
  const auto context = openssl_client();
  ASSERT_EQ(SSL_CTX_set_ciphersuites(context.get(), suite), 1);
  const auto [status, server, client] = accept(Site::build(settings), context.get());
  ASSERT_EQ(status, Engine::Status::ready);
  EXPECT_EQ(server->agreed().cipher, suite);
  const std::string text = random_text(20'000);
  EXPECT_TRUE(client->read(server->write(text)) == text);
  std::string received;
  EXPECT_EQ(server->read(client->write(text), received), Engine::Status::want_input);
  EXPECT_TRUE(received == text);
}

TEST_P(Tls13Suites, AreSpokenToAClient) {
  expect_spoken_to_a_client(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Suites, Tls13Suites,
                         testing::Values("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::erase(name, '_');
                           return name;
                         });

TEST(OtherTls13Suites, OfAesCcmAreLeftToOpenSsl) {
  expect_spoken_to_a_client("TLS_AES_128_CCM_SHA256");
}

// Returns the peer's report of our reply to its request for new keys in TLS 1.2.
std::string answer_to_renegotiation(EngineEnd& engine, OpenSslEnd& peer) {
  SSL_renegotiate(peer.ssl());
  Bytes wish;
  peer.handshake({}, wish);
  ByteView ciphertext(wish);
  Bytes plaintext(100'000);
  Bytes memory(100'000);
  Outgoing out(memory);
  (void)engine.engine().read(ciphertext, plaintext, out);
  Bytes ignored;
  if (peer.handshake({out.written().begin(), out.written().end()}, ignored)) peer.read({});
  return peer.error();
}

TEST(Engine, RefusesAServersRenegotiation) {
  const Site site;
  auto engine = site.engine_to_server();
  const auto context = openssl_server(site.server);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(engine, peer), Engine::Status::ready);
  EXPECT_EQ(answer_to_renegotiation(engine, peer), "no renegotiation");
}

TEST(Engine, RefusesAClientsRenegotiation) {
  const Site site;
  auto engine = site.engine_to_client();
  const auto context = openssl_client();
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  OpenSslEnd peer(context.get(), OpenSslEnd::Side::client);
  Bytes to_engine;
  Bytes to_peer;
  peer.handshake({}, to_engine);
  (void)engine.handshake(std::exchange(to_engine, {}), to_peer);
  peer.handshake(std::exchange(to_peer, {}), to_engine);
  ASSERT_EQ(engine.handshake(std::exchange(to_engine, {}), to_peer), Engine::Status::ready);
  ASSERT_TRUE(peer.handshake(to_peer, to_engine));
  EXPECT_EQ(answer_to_renegotiation(engine, peer), "no renegotiation");
}

// --- the results of the handshake ---

TEST(Established, TellsWhatWasAgreed) {
  const Site site;
  auto client = site.engine_to_server();
  const auto context = openssl_server(site.server);
  SSL_CTX_set1_groups_list(context.get(), "P-256");
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(client, server), Engine::Status::ready);
  const auto agreed = client.agreed();
  EXPECT_EQ(agreed.version, "TLSv1.3");
  EXPECT_EQ(agreed.cipher, "TLS_AES_256_GCM_SHA384");
  EXPECT_EQ(agreed.group, "secp256r1");
  EXPECT_FALSE(agreed.alpn_agreed);
  ASSERT_TRUE(agreed.peer);
  EXPECT_EQ(agreed.peer->subject, std::string("CN=") + Site::kHost);
  EXPECT_EQ(agreed.peer->issuer, "CN=Test Root");
}

// The SHA-256 of a certificate's DER, computed here.
std::string fingerprint(const Identity& identity) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(identity.certificate(), &der);
  unsigned char digest[32];
  EVP_Digest(der, static_cast<std::size_t>(size), digest, nullptr, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  std::string text;
  for (const unsigned byte : digest) {
    char pair[3];
    std::snprintf(pair, sizeof pair, "%02x", byte);
    text += pair;
  }
  return text;
}

TEST(Established, TellsTheServersCertificateAtItsEnd) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Site site;
    const auto client = openssl_client();
    SSL_CTX_set_max_proto_version(client.get(), version);
    const auto accepted = accept(Site::build(site.server_settings()), client.get());
    ASSERT_EQ(accepted.status, Engine::Status::ready);
    EXPECT_EQ(accepted.server->agreed().own_sha256_fingerprint, fingerprint(site.server));
  }
}

// Returns our client's report of its own certificate, with a server that asks for one or does not.
std::string own_fingerprint(const Site& site, const Identity& own, SSL_CTX* server_context) {
  auto settings = site.client_settings();
  settings.sslcert = site.folder.write("own.crt", own.certificate_pem());
  settings.sslkey = site.folder.write("own.key", own.key_pem());
  EngineEnd client(Engine::to_server(Site::build(settings), {.host = Site::kHost}));
  OpenSslEnd server(server_context, OpenSslEnd::Side::server);
  EXPECT_EQ(shake_hands(client, server), Engine::Status::ready)
      << client.failure().reason << ", " << server.error();
  const bool reached_server = SSL_get0_peer_certificate(server.ssl()) != nullptr;
  auto told = client.agreed().own_sha256_fingerprint;
  EXPECT_EQ(!told.empty(), reached_server);
  return told;
}

TEST(Established, TellsTheClientsCertificateAtItsEndWhereItWasShown) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Site site;
    const Identity own = issued_by(
        site.root,
        {.common_names = {"app"}, .alternative_names = {}, .extended_key_usage = {}, .name_constraints = {}});
    const auto context = openssl_server(site.server);
    SSL_CTX_set_max_proto_version(context.get(), version);
    EXPECT_EQ(own_fingerprint(site, own, context.get()), "") << "the server does not ask";
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), site.root.certificate());
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    EXPECT_EQ(own_fingerprint(site, own, context.get()), fingerprint(own));
    // A server that accepts other kinds of keys only is sent no certificate.
    const Identity rsa = issued_by(site.root, {.common_names = {Site::kHost},
                                               .alternative_names = {},
                                               .extended_key_usage = {},
                                               .name_constraints = {},
                                               .key = pgveil::test::KeyKind::rsa2048});
    const auto rsa_alone = openssl_server(rsa);
    SSL_CTX_set_max_proto_version(rsa_alone.get(), version);
    SSL_CTX_set_verify(rsa_alone.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set1_sigalgs_list(rsa_alone.get(), "RSA+SHA256:RSA-PSS+SHA256");
    EXPECT_EQ(own_fingerprint(site, own, rsa_alone.get()), "");
  }
}

TEST(Established, HasNoGroupWhereTheKeyExchangeHasNone) {
  const Site site;
  const Identity rsa = issued_by(site.root, {.common_names = {Site::kHost},
                                             .alternative_names = {},
                                             .extended_key_usage = {},
                                             .name_constraints = {},
                                             .key = pgveil::test::KeyKind::rsa2048});
  const auto context = openssl_server(rsa);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), "AES256-GCM-SHA384");
  auto settings = site.client_settings();
  settings.ssl_ciphers = "AES256-GCM-SHA384";
  EngineEnd client(Engine::to_server(Site::build(settings), {.host = Site::kHost}));
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  ASSERT_EQ(shake_hands(client, server), Engine::Status::ready) << client.failure().reason;
  EXPECT_EQ(client.agreed().version, "TLSv1.2");
  EXPECT_EQ(client.agreed().group, "-");
}

}  // namespace
}  // namespace pgveil::tls::test
