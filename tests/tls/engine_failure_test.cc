// The regular end and the failures of connections, and the engine's reports of them.
#include <gtest/gtest.h>

#include <functional>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

// --- bytes that are not a handshake ---

struct NoTls {
  const char* name;
  std::string bytes;
};
void PrintTo(const NoTls& row, std::ostream* out) {
  *out << row.name;
}

class BytesInsteadOfTls : public testing::TestWithParam<NoTls> {};

TEST_P(BytesInsteadOfTls, FromAServerAreNotTls) {
  const Site site;
  auto client = site.engine_to_server();
  Bytes sent;
  ASSERT_EQ(client.handshake({}, sent), Engine::Status::want_input);
  EXPECT_EQ(client.handshake(bytes_of(GetParam().bytes), sent), Engine::Status::failed);
  EXPECT_EQ(name_of(client.failure().failure), "not_tls") << client.failure().reason;
}

TEST_P(BytesInsteadOfTls, FromAClientAreNotTls) {
  const Site site;
  auto server = site.engine_to_client();
  Bytes sent;
  EXPECT_EQ(server.handshake(bytes_of(GetParam().bytes), sent), Engine::Status::failed);
  EXPECT_EQ(name_of(server.failure().failure), "not_tls") << server.failure().reason;
}

using namespace std::string_literals;

// clang-format off
INSTANTIATE_TEST_SUITE_P(Bytes, BytesInsteadOfTls, testing::Values(
    NoTls{"Http", "GET / HTTP/1.1\r\nHost: db\r\n\r\n"},
    NoTls{"HttpAnswer", "HTTP/1.1 400 Bad Request\r\n\r\n"},
    NoTls{"Ssh", "SSH-2.0-OpenSSH_9.2p1\r\n"},
    NoTls{"PostgresError", "E\0\0\0\x17SFATAL\0C0A000\0Mno\0\0"s},
    NoTls{"StartupMessage", "\0\0\0\x11\0\x03\0\0user\0ann\0\0"s}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(NotTls, IsAHelloThatTellsAnImpossibleLength) {
  const Site site;
  auto server = site.engine_to_client();
  Bytes sent;
  EXPECT_EQ(server.handshake(bytes_of("\x16\x03\x01\xff\xff" + std::string(100, 'x')), sent),
            Engine::Status::failed);
  EXPECT_NE(server.failure().reason, "");
}

// --- ends ---

class Ends : public testing::Test {
 protected:
  void SetUp() override {
    context_ = openssl_server(site_.server);
    server_ = std::make_unique<OpenSslEnd>(context_.get(), OpenSslEnd::Side::server);
    ASSERT_EQ(shake_hands(client_, *server_), Engine::Status::ready);
  }

  Site site_;
  EngineEnd client_ = site_.engine_to_server();
  SslContext context_;
  std::unique_ptr<OpenSslEnd> server_;
  std::string received_;
};

TEST_F(Ends, CloseNotifyIsTheRegularOne) {
  Bytes sent = server_->write("last words");
  const Bytes close_notify = server_->close();
  sent.insert(sent.end(), close_notify.begin(), close_notify.end());
  EXPECT_EQ(client_.read(sent, received_), Engine::Status::closed);
  EXPECT_EQ(received_, "last words");
}

TEST_F(Ends, CloseNotifyIsRememberedPastTheEndOfInput) {
  EXPECT_EQ(client_.read(server_->close(), received_), Engine::Status::closed);
  client_.engine().end_of_input();
  EXPECT_EQ(client_.read({}, received_), Engine::Status::closed);
}

TEST_F(Ends, WithoutCloseNotifyIsUnexpected) {
  client_.engine().end_of_input();
  EXPECT_EQ(client_.read({}, received_), Engine::Status::failed);
  EXPECT_EQ(name_of(client_.failure().failure), "unexpected_eof");
  EXPECT_EQ(client_.failure().reason, "unexpected eof while reading");
}

TEST_F(Ends, InsideARecordIsUnexpectedAndLosesNothingBeforeIt) {
  Bytes sent = server_->write("whole");
  Bytes half = server_->write("half");
  half.resize(half.size() / 2);
  sent.insert(sent.end(), half.begin(), half.end());
  client_.engine().end_of_input();
  EXPECT_EQ(client_.read(sent, received_), Engine::Status::failed);
  EXPECT_EQ(received_, "whole");
  EXPECT_EQ(name_of(client_.failure().failure), "unexpected_eof");
}

TEST_F(Ends, OursIsCloseNotifyOnce) {
  server_->read(client_.close());
  EXPECT_NE(SSL_get_shutdown(server_->ssl()) & SSL_RECEIVED_SHUTDOWN, 0);
  EXPECT_TRUE(client_.close().empty());
}

TEST_F(Ends, OursDoesNotStopWhatThePeerStillSends) {
  (void)client_.close();
  EXPECT_EQ(client_.read(server_->write("late"), received_), Engine::Status::want_input);
  EXPECT_EQ(received_, "late");
}

TEST_F(Ends, AFailureIsFinal) {
  (void)client_.read(bytes_of("no record at all"), received_);
  const std::string reason = client_.failure().reason;
  EXPECT_EQ(client_.read(server_->write("good"), received_), Engine::Status::failed);
  const Bytes text = bytes_of("x");
  ByteView plaintext(text);
  Bytes memory(1'000);
  Outgoing out(memory);
  EXPECT_EQ(client_.engine().write(plaintext, out), Engine::Status::failed);
  EXPECT_EQ(client_.engine().handshake(plaintext, out), Engine::Status::failed);
  client_.engine().close(out);
  EXPECT_TRUE(out.written().empty());
  EXPECT_EQ(received_, "");
  EXPECT_EQ(client_.failure().reason, reason);
}

// The end of input may be known before the last bytes of the handshake are processed.
TEST(EndOfInput, BehindTheHandshakeIsUnexpectedAlsoWhereItWasSaidBefore) {
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
  server.engine().end_of_input();
  ASSERT_EQ(server.handshake(to_server, to_client), Engine::Status::ready);
  std::string received;
  EXPECT_EQ(server.read({}, received), Engine::Status::failed);
  EXPECT_EQ(name_of(server.failure().failure), "unexpected_eof");
}

TEST(EndOfInput, InsideTheHandshakeIsUnexpected) {
  const Site site;
  auto client = site.engine_to_server();
  Bytes sent;
  ASSERT_EQ(client.handshake({}, sent), Engine::Status::want_input);
  client.engine().end_of_input();
  EXPECT_EQ(client.handshake({}, sent), Engine::Status::failed);
  EXPECT_EQ(name_of(client.failure().failure), "unexpected_eof");
}

TEST(Close, InsideTheHandshakeSendsNothing) {
  const Site site;
  auto client = site.engine_to_server();
  Bytes sent;
  (void)client.handshake({}, sent);
  EXPECT_TRUE(client.close().empty());
}

TEST(Data, BeforeTheHandshakeIsNeitherReadNorWritten) {
  const Site site;
  auto client = site.engine_to_server();
  std::string received;
  EXPECT_EQ(client.read({}, received), Engine::Status::failed);
  const Bytes text = bytes_of("startup");
  ByteView plaintext(text);
  Bytes memory(1'000);
  Outgoing out(memory);
  EXPECT_EQ(client.engine().write(plaintext, out), Engine::Status::failed);
  EXPECT_TRUE(out.written().empty());
}

// OpenSSL's error queue belongs to the thread: errors of one connection must not make another one fail.
TEST(ErrorQueue, OfTheThreadDoesNotReachAConnection) {
  const Site site;
  auto client = site.engine_to_server();
  auto server = site.engine_to_client();
  ASSERT_TRUE(shake_hands(client, server));
  const Bytes sent = client.write("fine");
  (void)BIO_new_file("/nonexistent", "r");
  std::string received;
  EXPECT_EQ(server.read(sent, received), Engine::Status::want_input);
  EXPECT_EQ(received, "fine");
}

// --- nothing in common ---

struct Incompatible {
  const char* name;
  std::function<void(SSL_CTX* server, ClientSettings& settings)> prepare;
  const char* failure;
};
void PrintTo(const Incompatible& row, std::ostream* out) {
  *out << row.name;
}

class IncompatibleServer : public testing::TestWithParam<Incompatible> {};

TEST_P(IncompatibleServer, IsToldApart) {
  const Site site;
  const auto context = openssl_server(site.server);
  auto settings = site.client_settings();
  GetParam().prepare(context.get(), settings);
  EngineEnd client(Engine::to_server(Site::build(settings), {.host = Site::kHost}));
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  EXPECT_EQ(shake_hands(client, server), Engine::Status::failed);
  EXPECT_EQ(name_of(client.failure().failure), GetParam().failure) << client.failure().reason;
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Differences, IncompatibleServer, testing::Values(
    Incompatible{"OldServer",
                 [](SSL_CTX* s, ClientSettings&) {
                   SSL_CTX_set_min_proto_version(s, TLS1_VERSION);
                   SSL_CTX_set_max_proto_version(s, TLS1_1_VERSION);
                 },
                 "no_common_version"},
    Incompatible{"ServerOlderThanOurMinimum",
                 [](SSL_CTX* s, ClientSettings& ours) {
                   SSL_CTX_set_max_proto_version(s, TLS1_2_VERSION);
                   ours.ssl_min_protocol_version = Version::tls1_3;
                 },
                 "no_common_version"},
    Incompatible{"ServerNewerThanOurMaximum",
                 [](SSL_CTX* s, ClientSettings& ours) {
                   SSL_CTX_set_min_proto_version(s, TLS1_3_VERSION);
                   ours.ssl_max_protocol_version = Version::tls1_2;
                 },
                 "no_common_version"},
    Incompatible{"NoCommonCipher",
                 [](SSL_CTX* s, ClientSettings&) {
                   SSL_CTX_set_max_proto_version(s, TLS1_2_VERSION);
                   SSL_CTX_set_cipher_list(s, "AES128-SHA");
                 },
                 "no_common_parameters"},
    Incompatible{"NoCommonGroup",
                 [](SSL_CTX* s, ClientSettings&) { SSL_CTX_set1_groups_list(s, "brainpoolP256r1"); },
                 "no_common_parameters"},
    Incompatible{"NoSuchName",
                 [](SSL_CTX* s, ClientSettings&) {
                   on_server_name(s, [](SSL*, int*, void*) -> int { return SSL_TLSEXT_ERR_ALERT_FATAL; }, nullptr);
                 },
                 "alert"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(IncompatibleClient, HasNoVersionInCommonWithUs) {
  const Site site;
  auto server = site.engine_to_client();
  const auto context = openssl_client();
  SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_1_VERSION);
  OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
  Bytes hello;
  client.handshake({}, hello);
  Bytes answer;
  EXPECT_EQ(server.handshake(hello, answer), Engine::Status::failed);
  EXPECT_EQ(name_of(server.failure().failure), "no_common_version");
  client.handshake(answer, hello);
  EXPECT_EQ(client.error(), "tlsv1 alert protocol version") << "the client must be told";
}

}  // namespace
}  // namespace pgveil::tls::test
