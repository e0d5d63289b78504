// The contents of the hello messages: ALPN, as PostgreSQL 17 requires it, and the server's name.
#include <gtest/gtest.h>

#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

// Returns the wire format: each name after its length.
std::string protocols(const std::vector<std::string>& names) {
  std::string wire;
  for (const auto& name : names) wire += static_cast<char>(name.size()) + name;
  return wire;
}

// --- our client ---

// An OpenSSL server that selects `answer` for any offer, or nothing.
class AlpnOfServer : public testing::Test {
 protected:
  Engine::Status shake_hands_with(const char* answer, bool require_alpn, int version = TLS1_3_VERSION) {
    const auto context = openssl_server(site_.server);
    SSL_CTX_set_max_proto_version(context.get(), version);
    answer_ = answer;
    SSL_CTX_set_alpn_select_cb(
        context.get(),
        [](SSL*, const unsigned char** selected, unsigned char* size, const unsigned char* offered,
           unsigned offered_size, void* self) {
          auto& test = *static_cast<AlpnOfServer*>(self);
          test.offered_.assign(reinterpret_cast<const char*>(offered), offered_size);
          if (test.answer_ == nullptr) return SSL_TLSEXT_ERR_NOACK;
          *selected = reinterpret_cast<const unsigned char*>(test.answer_);
          *size = static_cast<unsigned char>(std::char_traits<char>::length(test.answer_));
          return SSL_TLSEXT_ERR_OK;
        },
        this);
    OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
    client_ = std::make_unique<EngineEnd>(Engine::to_server(
        Site::build(site_.client_settings()), {.host = Site::kHost, .require_alpn = require_alpn}));
    return shake_hands(*client_, server);
  }

  Site site_;
  const char* answer_ = nullptr;
  std::string offered_;
  std::unique_ptr<EngineEnd> client_;
};

TEST_F(AlpnOfServer, IsAlwaysOfferedPostgresql) {
  ASSERT_EQ(shake_hands_with("postgresql", false), Engine::Status::ready);
  EXPECT_EQ(offered_, "\x0apostgresql");
  EXPECT_TRUE(client_->agreed().alpn_agreed);
}

TEST_F(AlpnOfServer, MayBeMissing) {
  ASSERT_EQ(shake_hands_with(nullptr, false), Engine::Status::ready);
  EXPECT_FALSE(client_->agreed().alpn_agreed);
}

TEST_F(AlpnOfServer, MustNotBeMissingWhereItIsRequired) {
  EXPECT_EQ(shake_hands_with(nullptr, true), Engine::Status::failed);
  EXPECT_EQ(name_of(client_->failure().failure), "no_application_protocol");
}

TEST_F(AlpnOfServer, IsEnoughWhereItIsRequired) {
  EXPECT_EQ(shake_hands_with("postgresql", true), Engine::Status::ready);
}

// A server of another protocol at the address. Some releases of OpenSSL detect this before we do.
TEST_F(AlpnOfServer, MustNotBeAnotherProtocol) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION})
    EXPECT_EQ(shake_hands_with("http/1.1", false, version), Engine::Status::failed) << version;
}

// --- our server ---

struct Offer {
  const char* name;
  std::vector<std::string> protocols;  // empty: no extension
  bool require_alpn;
  bool accepted;
  bool agreed;
};
void PrintTo(const Offer& row, std::ostream* out) {
  *out << row.name;
}

class AlpnOfClient : public testing::TestWithParam<Offer> {};

TEST_P(AlpnOfClient, IsJudgedAsByPostgres) {
  const Site site;
  const auto context = openssl_client();
  const std::string wire = protocols(GetParam().protocols);
  if (!wire.empty())
    SSL_CTX_set_alpn_protos(context.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
  OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
  EngineEnd server(Engine::to_client(Site::build(site.server_settings()), GetParam().require_alpn));
  Bytes to_server;
  Bytes to_client;
  client.handshake({}, to_server);
  auto status = server.handshake(to_server, to_client);
  to_server.clear();
  client.handshake(to_client, to_server);
  if (status == Engine::Status::want_input) status = server.handshake(to_server, to_client);
  if (!GetParam().accepted) {
    EXPECT_EQ(status, Engine::Status::failed);
    EXPECT_EQ(name_of(server.failure().failure), "no_application_protocol") << server.failure().reason;
    if (!wire.empty()) {
      EXPECT_EQ(client.error(), "tlsv1 alert no application protocol");
    }
    return;
  }
  ASSERT_EQ(status, Engine::Status::ready) << server.failure().reason;
  EXPECT_EQ(server.agreed().alpn_agreed, GetParam().agreed);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Offers, AlpnOfClient, testing::Values(
    Offer{"Postgresql", {"postgresql"}, false, true, true},
    Offer{"PostgresqlBehindOthers", {"h2", "http/1.1", "postgresql"}, false, true, true},
    Offer{"PostgresqlWhereItIsRequired", {"postgresql"}, true, true, true},
    Offer{"None", {}, false, true, false},
    Offer{"NoneWhereItIsRequired", {}, true, false, false},
    Offer{"Others", {"h2", "http/1.1"}, false, false, false},
    Offer{"Prefix", {"postgres"}, false, false, false},
    Offer{"Longer", {"postgresql2"}, false, false, false},
    Offer{"OtherCase", {"PostgreSQL"}, false, false, false},
    Offer{"PostgresqlInsideAnother", {"x\x0apostgresql"}, false, false, false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class DirectTlsWithoutAlpn : public testing::TestWithParam<int> {};

// be_tls_open_server() completes the handshake; then ProcessSSLStartup() closes the connection.
TEST_P(DirectTlsWithoutAlpn, IsClosedAsByPostgres) {
  const Site site;
  const auto context = openssl_client();
  SSL_CTX_set_max_proto_version(context.get(), GetParam());
  OpenSslEnd client(context.get(), OpenSslEnd::Side::client);
  EngineEnd server(Engine::to_client(Site::build(site.server_settings()), true));
  Bytes to_server;
  Bytes to_client;
  client.handshake({}, to_server);
  (void)server.handshake(std::exchange(to_server, {}), to_client);
  client.handshake(std::exchange(to_client, {}), to_server);
  const Bytes startup = SSL_is_init_finished(client.ssl()) == 1 ? client.write("startup") : Bytes();
  to_server.insert(to_server.end(), startup.begin(), startup.end());
  ASSERT_EQ(server.handshake(to_server, to_client), Engine::Status::failed);
  EXPECT_EQ(name_of(server.failure().failure), "no_application_protocol");
  std::string received;
  EXPECT_EQ(server.read(server.early(), received), Engine::Status::failed) << "nothing is read any more";
  EXPECT_EQ(received, "");
  const Bytes close_notify = server.close();
  to_client.insert(to_client.end(), close_notify.begin(), close_notify.end());
  Bytes ignored;
  client.handshake(to_client, ignored);
  client.read({});
  EXPECT_EQ(SSL_is_init_finished(client.ssl()), 1);
  EXPECT_EQ(SSL_get_shutdown(client.ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
  EXPECT_EQ(client.error(), "") << "an alert came, not close_notify";
  EXPECT_TRUE(server.close().empty());
}

INSTANTIATE_TEST_SUITE_P(Versions, DirectTlsWithoutAlpn, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& row) { return row.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

// --- the server's name ---

std::string name_sent(const std::string& host, bool send_sni) {
  const Site site;
  const auto context = openssl_server(site.server);
  std::string seen;
  on_server_name(
      context.get(),
      [](SSL* ssl, int*, void* argument) -> int {
        if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
          *static_cast<std::string*>(argument) = name;
        return SSL_TLSEXT_ERR_OK;
      },
      &seen);
  OpenSslEnd server(context.get(), OpenSslEnd::Side::server);
  EngineEnd client(
      Engine::to_server(Site::build(site.client_settings()), {.host = host, .send_sni = send_sni}));
  (void)shake_hands(client, server);
  return seen;
}

TEST(ServerName, IsSent) {
  EXPECT_EQ(name_sent(Site::kHost, true), Site::kHost);
}

TEST(ServerName, IsNotSentWhereItIsTurnedOff) {
  EXPECT_EQ(name_sent(Site::kHost, false), "");
}

TEST(ServerName, IsNotSentForAnAddress) {
  EXPECT_EQ(name_sent("192.0.2.1", true), "");
}

}  // namespace
}  // namespace pgveil::tls::test
