// The memory of an established connection: no allocation of ours for reads and writes, and little memory of
// OpenSSL while it is idle.
#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/failing_memory.h"
#include "tests/support/openssl_memory.h"
#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using pgveil::test::new_bytes;
using pgveil::test::news;
using pgveil::test::openssl_bytes;

// Both ends are engines of ours, with an established connection.
class EstablishedEngine : public testing::TestWithParam<Version> {
 protected:
  void SetUp() override {
    auto settings = site_.client_settings();
    settings.ssl_max_protocol_version = GetParam();
    client_context_ = Site::build(settings);
    client_ = std::make_unique<EngineEnd>(Engine::to_server(client_context_, {.host = Site::kHost}));
    server_ = std::make_unique<EngineEnd>(site_.engine_to_client());
    ASSERT_TRUE(shake_hands(*client_, *server_));
  }

  // Returns the memory that an idle server end frees. The client sends the certificate of an intermediate, or
  // none.
  std::size_t held_by_server_end(bool with_certificate) {
    auto server_settings = site_.server_settings();
    server_settings.ssl_ca_file = site_.folder.path("root.crt");
    const auto server_context = Site::build(server_settings);
    auto client_settings = site_.client_settings();
    client_settings.ssl_max_protocol_version = GetParam();
    if (with_certificate) {
      CertificateRequest request;
      request.common_names = {"Test Intermediate"};
      request.authority = true;
      const Identity intermediate = issued_by(site_.root, request);
      request.common_names = {"app"};
      request.authority = false;
      const Identity app = issued_by(intermediate, request);
      client_settings.sslcert =
          site_.folder.write("app.crt", app.certificate_pem() + intermediate.certificate_pem());
      client_settings.sslkey = site_.folder.write("app.key", app.key_pem());
    }
    EngineEnd client(Engine::to_server(Site::build(client_settings), {.host = Site::kHost}));
    auto server = std::make_unique<EngineEnd>(Engine::to_client(server_context, false));
    EXPECT_TRUE(shake_hands(client, *server)) << server->failure().reason;
    EXPECT_EQ(server->agreed().peer.has_value(), with_certificate);
    std::string received;
    EXPECT_EQ(server->read(client.write("query"), received), Engine::Status::want_input);
    EXPECT_EQ(client.read(server->write("answer"), received), Engine::Status::want_input);
    const std::size_t before = openssl_bytes();
    server.reset();
    return before - openssl_bytes();
  }

  Site site_;
  std::shared_ptr<const ClientContext> client_context_;  // outlives the engine, as in pgveil
  std::unique_ptr<EngineEnd> client_;
  std::unique_ptr<EngineEnd> server_;
};

TEST_P(EstablishedEngine, CallsNoOperatorNewToWrite) {
  const Bytes bytes(100'000, 'q');
  Bytes memory(ciphertext_room(bytes.size()));
  ByteView plaintext(bytes);
  Outgoing out(memory);

  const std::size_t before = news();
  const auto status = client_->engine().write(plaintext, out);
  const std::size_t after = news();

  EXPECT_EQ(status, Engine::Status::ready);
  EXPECT_EQ(after, before);
}

TEST_P(EstablishedEngine, CallsNoOperatorNewToRead) {
  const Bytes sent = client_->write(std::string(100'000, 'q'));
  Bytes plaintext(plaintext_room(sent.size()));
  Bytes memory(1'024);
  ByteView ciphertext(sent);
  Outgoing out(memory);

  const std::size_t before = news();
  const auto read = server_->engine().read(ciphertext, plaintext, out);
  const std::size_t after = news();

  EXPECT_EQ(read.size, 100'000u);
  EXPECT_EQ(after, before);
}

// Tests records that arrive in parts, and content that had no room.
TEST_P(EstablishedEngine, HoldsNoBufferWhileIdle) {
  const auto read = [&](ByteView ciphertext, std::size_t room) {
    Bytes plaintext(room);
    Bytes memory(1'024);
    Outgoing out(memory);
    std::size_t all = 0;
    for (;;) {
      const auto [status, size] = server_->engine().read(ciphertext, plaintext, out);
      all += size;
      if (status != Engine::Status::ready) return all;
    }
  };
  const Bytes sent = client_->write(std::string(16'384, 'q'));
  const Bytes more = client_->write(std::string(16'384, 'q'));
  const std::size_t before = new_bytes() + openssl_bytes();
  EXPECT_EQ(read(ByteView(sent).first(10'000), 65'536), 0u);
  EXPECT_GT(new_bytes() + openssl_bytes(), before + 9'000) << "the count counts nothing";
  EXPECT_EQ(read(ByteView(sent).subspan(10'000), 65'536), 16'384u);
  EXPECT_EQ(read(more, 1'000), 16'384u);
  EXPECT_LE(new_bytes() + openssl_bytes(), before);
}

// Our own record layer holds only what encrypts and decrypts.
std::size_t most_per_end(Version version) {
  return version == Version::tls1_3 && records_under_test() == Records::own ? 2'560 : 14 * 1'024;
}

// The heap memory that an end frees: keys, before TLS 1.3 also the SSL object, and nothing of the peer's
// chain. The context is not included, because all connections share it.
TEST_P(EstablishedEngine, HoldsLittleOfOpenSslsHeapWhileIdle) {
  ASSERT_TRUE(pgveil::test::openssl_is_counted()) << "OpenSSL allocated before it could be counted";
  // OpenSSL's objects differ between releases. The limits are what 3.0 needs, with a margin.
  if (OpenSSL_version_num() >= 0x30100000UL) GTEST_SKIP() << "measured for OpenSSL 3.0 only";
  const std::size_t most = most_per_end(GetParam());
  std::string received;
  ASSERT_EQ(server_->read(client_->write("query"), received), Engine::Status::want_input);
  ASSERT_EQ(client_->read(server_->write("answer"), received), Engine::Status::want_input);

  const std::size_t before = openssl_bytes();
  client_.reset();
  const std::size_t held = before - openssl_bytes();

  EXPECT_LE(held, most);
  EXPECT_GT(held, 1'024u) << "the count counts nothing";
  RecordProperty("bytes", static_cast<int>(held));
}

// The same for the server's end: nothing of the client's certificate is kept.
TEST_P(EstablishedEngine, HoldsLittleOfOpenSslsHeapAtTheServersEnd) {
  if (OpenSSL_version_num() >= 0x30100000UL) GTEST_SKIP() << "measured for OpenSSL 3.0 only";
  const std::size_t most = most_per_end(GetParam());
  constexpr std::size_t kMaxOfAChainOfTwo = 512;
  const std::size_t without = held_by_server_end(false);
  const std::size_t with = held_by_server_end(true);
  EXPECT_LE(without, most);
  EXPECT_GT(without, 1'024u) << "the count counts nothing";
  EXPECT_LE(with, without + kMaxOfAChainOfTwo);
  RecordProperty("bytes_without_client_certificate", static_cast<int>(without));
  RecordProperty("bytes_with_client_certificate", static_cast<int>(with));
}

// Returns the memory of OpenSSL that both ends of a connection free, after a key exchange with `group`.
std::size_t held_after_key_exchange(const Site& site, const std::string& group) {
  auto settings = site.server_settings();
  settings.ssl_groups = group;
  const auto server_context = Site::build(settings);
  const auto client_context = Site::build(site.client_settings());
  auto client = std::make_unique<EngineEnd>(Engine::to_server(client_context, {.host = Site::kHost}));
  auto server = std::make_unique<EngineEnd>(Engine::to_client(server_context, false));
  EXPECT_TRUE(shake_hands(*client, *server));
  EXPECT_EQ(client->agreed().group, group);
  const std::size_t before = openssl_bytes();
  client.reset();
  server.reset();
  return before - openssl_bytes();
}

// Keys of finite fields and of ML-KEM have several KiB if they are kept; keys of X25519 are small.
TEST(KeysOfTheKeyExchange, AreGoneOnceItIsDone) {
  const Site site;
  held_after_key_exchange(site, "x25519");  // memory that OpenSSL allocates at the first use and keeps
  const std::size_t small = held_after_key_exchange(site, "x25519");
  EXPECT_LE(held_after_key_exchange(site, "ffdhe3072"), small + 512);
  if (OpenSSL_version_num() < 0x30500000UL) return;  // OpenSSL before 3.5 has no ML-KEM
  EXPECT_LE(held_after_key_exchange(site, "X25519MLKEM768"), small + 1'024);
}

// The same for a server's end that keeps OpenSSL's records, as with AES-CCM.
std::size_t held_by_openssl_after_key_exchange(const Site& site, const std::string& group) {
  auto settings = site.server_settings();
  settings.ssl_groups = group;
  settings.ssl_tls13_ciphers = "TLS_AES_128_CCM_SHA256";
  const auto context = Site::build(settings);
  const auto client_context = openssl_client();
  SSL_CTX_set_ciphersuites(client_context.get(), "TLS_AES_128_CCM_SHA256");
  auto acceptance = accept(context, client_context.get());
  EXPECT_EQ(acceptance.status, Engine::Status::ready);
  EXPECT_EQ(acceptance.server->agreed().group, group);
  const std::size_t before = openssl_bytes();
  acceptance.server.reset();
  return before - openssl_bytes();
}

TEST(KeysOfTheKeyExchange, AreGoneOnceItIsDoneAlsoWhereOpenSslsConnectionStays) {
  const Site site;
  held_by_openssl_after_key_exchange(site, "x25519");
  const std::size_t small = held_by_openssl_after_key_exchange(site, "x25519");
  EXPECT_LE(held_by_openssl_after_key_exchange(site, "ffdhe3072"), small + 512);
}

// A role adds a certificate and its key to a context that trusts 50 authorities, and nothing else.
TEST(RoleCertificates, ShareAllElse) {
  if (OpenSSL_version_num() >= 0x30100000UL) GTEST_SKIP() << "measured for OpenSSL 3.0 only";
  constexpr std::size_t kMaxOfEach = 8 * 1'024;
  const Site site;
  std::string trusted = site.root.certificate_pem();
  for (int i = 0; i < 49; ++i)
    trusted += pgveil::test::authority("Root " + std::to_string(i)).certificate_pem();
  auto settings = site.client_settings();
  settings.sslrootcert = site.folder.write("roots.crt", trusted);
  const auto role_of = [&](const ClientContext& base) {
    return base.with_certificate(site.folder.path("server.crt"), site.folder.path("server.key")).value();
  };
  role_of(*Site::build(settings));  // memory that OpenSSL allocates at the first use and keeps

  const std::size_t before = openssl_bytes();
  const auto base = Site::build(settings);
  const std::size_t of_base = openssl_bytes() - before;
  std::vector<std::shared_ptr<const ClientContext>> roles;
  while (roles.size() < 100) roles.push_back(role_of(*base));
  const std::size_t of_roles = openssl_bytes() - before - of_base;

  EXPECT_LE(of_roles, roles.size() * kMaxOfEach);
  EXPECT_GT(of_roles, roles.size() * 1'024) << "the count counts nothing";
  EXPECT_GT(of_base, 10 * kMaxOfEach) << "there is nothing to share";
  RecordProperty("bytes_of_base", static_cast<int>(of_base));
  RecordProperty("bytes_of_100_roles", static_cast<int>(of_roles));
}

INSTANTIATE_TEST_SUITE_P(Version, EstablishedEngine, testing::Values(Version::tls1_2, Version::tls1_3),
                         [](const auto& row) { return row.param == Version::tls1_2 ? "Tls12" : "Tls13"; });

}  // namespace
}  // namespace pgveil::tls::test
