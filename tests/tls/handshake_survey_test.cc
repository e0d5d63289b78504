#include "tls/handshake_survey.h"

#include <gtest/gtest.h>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

class AHandshakeSurvey : public testing::Test {
 protected:
  // Carries bytes between both ends until one has a result.
  EngineStatus run(HandshakeSurvey& survey, OpenSslEnd& server) {
    Bytes to_server, to_client;
    for (int turn = 0; turn < 20; ++turn) {
      std::vector<std::uint8_t> memory(65'536);
      Outgoing out(memory);
      ByteView unread(to_client);
      const auto status = survey.handshake(unread, out);
      to_server.assign(out.written().begin(), out.written().end());
      to_client.clear();
      server.handshake(to_server, to_client);
      rest_ = to_client;
      if (status != EngineStatus::want_input) return status;
    }
    return EngineStatus::want_input;
  }
  // Gives the survey what the server has sent after the handshake.
  EngineStatus await_tickets(HandshakeSurvey& survey) {
    std::vector<std::uint8_t> memory(65'536);
    Outgoing out(memory);
    ByteView unread(rest_);
    return survey.await_tickets(unread, out);
  }
  [[nodiscard]] Identity server() const { return issued_by(root_, named("db01")); }

  Bytes rest_;  // what the server has sent after the handshake
  const Identity root_ = pgveil::test::authority("unknown root");
};

TEST_F(AHandshakeSurvey, DescribesAServerThatNobodyTrusts) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {&root_});
  OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
  HandshakeSurvey survey({.server_name = "db01"});
  ASSERT_EQ(run(survey, end), EngineStatus::ready);
  const auto result = survey.result();
  EXPECT_EQ(result.agreed.version, "TLSv1.3");
  EXPECT_EQ(result.chain.size(), 2U);
  EXPECT_FALSE(result.requests_certificate);
  EXPECT_STREQ(SSL_get_servername(end.ssl(), TLSEXT_NAMETYPE_host_name), "db01");
}

TEST_F(AHandshakeSurvey, NotesTheRequestForACertificateAndItsAuthoritiesAndSendsNone) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Identity leaf = server();
    const auto context = openssl_server(leaf, {});
    SSL_CTX_set_max_proto_version(context.get(), version);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_add_client_CA(context.get(), root_.certificate());
    OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
    HandshakeSurvey survey({.server_name = ""});
    ASSERT_EQ(run(survey, end), EngineStatus::ready);
    EXPECT_TRUE(survey.result().requests_certificate);
    EXPECT_EQ(survey.result().authorities, std::vector<std::string>{"CN=unknown root"});
    EXPECT_EQ(SSL_get0_peer_certificate(end.ssl()), nullptr);
  }
}

// Up to TLS 1.2 in the handshake, in which everything else is then known.
TEST_F(AHandshakeSurvey, DescribesAServerThatRequiresACertificate) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const Identity leaf = server();
    const auto context = openssl_server(leaf, {&root_});
    SSL_CTX_set_max_proto_version(context.get(), version);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_add_client_CA(context.get(), root_.certificate());
    OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
    HandshakeSurvey survey({.server_name = ""});
    const bool is_old = version == TLS1_2_VERSION;
    EXPECT_EQ(run(survey, end), is_old ? EngineStatus::failed : EngineStatus::ready);
    EXPECT_EQ(survey.refusal(),
              is_old ? HandshakeSurvey::Refusal::of_no_certificate : HandshakeSurvey::Refusal::none);
    const auto result = survey.result();
    EXPECT_EQ(result.agreed.version, is_old ? "TLSv1.2" : "TLSv1.3");
    EXPECT_EQ(result.agreed.cipher, survey.agreed_cipher());
    EXPECT_NE(result.agreed.cipher, "");
    EXPECT_NE(result.agreed.group, "");
    EXPECT_EQ(result.chain.size(), 2U);
    EXPECT_TRUE(result.requests_certificate);
    EXPECT_EQ(result.requires_certificate, is_old);
    EXPECT_EQ(result.authorities, std::vector<std::string>{"CN=unknown root"});
  }
}

// The end of the connection, too, comes only from a server that wants a certificate.
TEST_F(AHandshakeSurvey, DescribesAServerThatClosesBecauseNoCertificateWasSent) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {&root_});
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
  HandshakeSurvey survey({.server_name = ""});
  std::vector<std::uint8_t> memory(65'536);
  Outgoing hello(memory);
  ByteView unread;
  ASSERT_EQ(survey.handshake(unread, hello), EngineStatus::want_input);
  Bytes to_client;
  end.handshake(Bytes(hello.written().begin(), hello.written().end()), to_client);
  unread = to_client;
  Outgoing rest(memory);
  ASSERT_EQ(survey.handshake(unread, rest), EngineStatus::want_input);
  survey.end_of_input();
  EXPECT_EQ(survey.handshake(unread, rest), EngineStatus::failed);
  EXPECT_EQ(survey.refusal(), HandshakeSurvey::Refusal::of_no_certificate);
  EXPECT_EQ(survey.result().chain.size(), 2U);
}

TEST_F(AHandshakeSurvey, IsNotRefusedByWhatComesAfterTheHandshake) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {});
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
  HandshakeSurvey survey({.server_name = ""});
  ASSERT_EQ(run(survey, end), EngineStatus::ready);
  survey.end_of_input();
  EXPECT_EQ(await_tickets(survey), EngineStatus::failed);
  EXPECT_EQ(survey.refusal(), HandshakeSurvey::Refusal::none);
  EXPECT_FALSE(survey.result().requires_certificate);
}

// The same alert later has another meaning.
TEST_F(AHandshakeSurvey, IsNotRefusedAfterTheServerHello) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {});
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
  HandshakeSurvey survey({.server_name = ""});
  std::vector<std::uint8_t> memory(65'536);
  Outgoing out(memory);
  ByteView unread;
  ASSERT_EQ(survey.handshake(unread, out), EngineStatus::want_input);
  Bytes flight;
  end.handshake(Bytes(out.written().begin(), out.written().end()), flight);
  out.clear();
  constexpr std::size_t kHeader = 5;
  const std::size_t server_hello = kHeader + flight.at(3) * 256U + flight.at(4);
  Bytes hello_and_alert(flight.begin(), flight.begin() + static_cast<std::ptrdiff_t>(server_hello));
  for (const int byte : {0x15, 3, 3, 0, 2, 2, SSL_AD_HANDSHAKE_FAILURE})
    hello_and_alert.push_back(static_cast<std::uint8_t>(byte));
  unread = hello_and_alert;
  EXPECT_EQ(survey.handshake(unread, out), EngineStatus::failed);
  EXPECT_EQ(survey.refusal(), HandshakeSurvey::Refusal::none);
  EXPECT_NE(survey.agreed_cipher(), "");
}

// Only these say that the server does not accept what was offered.
TEST_F(AHandshakeSurvey, IsRefusedByThreeAlerts) {
  using Refusal = HandshakeSurvey::Refusal;
  for (int alert = 0; alert <= 255; ++alert) {
    HandshakeSurvey survey({.server_name = ""});
    std::vector<std::uint8_t> memory(65'536);
    Outgoing out(memory);
    const Bytes record{0x15, 3, 3, 0, 2, 2, static_cast<std::uint8_t>(alert)};
    ByteView unread(record);
    ASSERT_EQ(survey.handshake(unread, out), EngineStatus::failed) << alert;
    const bool is_refusal = alert == SSL_AD_HANDSHAKE_FAILURE || alert == SSL_AD_PROTOCOL_VERSION ||
                            alert == SSL_AD_INSUFFICIENT_SECURITY;
    EXPECT_EQ(survey.refusal(), is_refusal ? Refusal::of_the_offer : Refusal::none) << alert;
    EXPECT_EQ(survey.agreed_cipher(), "");
  }
}

TEST_F(AHandshakeSurvey, OffersOnlyTheVersionsThatAreAskedFor) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {});
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
  HandshakeSurvey survey({.server_name = "", .min = Version::tls1_2, .max = Version::tls1_2});
  EXPECT_EQ(run(survey, end), EngineStatus::failed);
  EXPECT_EQ(survey.failure().failure, Failure::no_common_version);
  EXPECT_EQ(survey.refusal(), HandshakeSurvey::Refusal::of_the_offer);
}

TEST_F(AHandshakeSurvey, CountsSessionTickets) {
  for (const std::size_t count : {0U, 1U, 3U}) {
    const Identity leaf = server();
    const auto context = openssl_server(leaf, {});
    SSL_CTX_clear_options(context.get(), SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context.get(), count);
    OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
    HandshakeSurvey survey({.server_name = ""});
    ASSERT_EQ(run(survey, end), EngineStatus::ready);
    EXPECT_EQ(await_tickets(survey), EngineStatus::want_input);
    EXPECT_EQ(survey.result().tickets, count);
  }
}

TEST_F(AHandshakeSurvey, OffersOnlyTheCiphersThatAreAskedFor) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {});
  const auto run_with = [&](const HandshakeSurvey::Question& question) {
    OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
    HandshakeSurvey survey(question);
    const auto status = run(survey, end);
    return status == EngineStatus::ready ? survey.result().agreed.cipher : "";
  };
  SSL_CTX_set_cipher_list(context.get(), "ALL:eNULL:@SECLEVEL=0");
  const HandshakeSurvey::Question broken{
      .server_name = "", .max = Version::tls1_2, .ciphers = SurveyedCiphers::broken};
  const std::string first = run_with(broken);
  EXPECT_NE(first, "");
  auto without = broken;
  without.without = {first};
  EXPECT_NE(run_with(without), first);
  SSL_CTX_set_cipher_list(context.get(), "HIGH:!aNULL:!eNULL:@SECLEVEL=0");
  EXPECT_EQ(run_with(broken), "");
}

// OpenSSL would take it.
TEST_F(AHandshakeSurvey, DoesNotShowAProtocolThatWasNotOffered) {
  const Identity leaf = server();
  const auto context = openssl_server(leaf, {});
  for (const std::string_view chosen : {"postgresql", "call this number"}) {
    SSL_CTX_set_alpn_select_cb(
        context.get(),
        [](SSL* /*ssl*/, const unsigned char** selected, unsigned char* size,
           const unsigned char* /*offered*/, unsigned /*offered_size*/, void* text) {
          const auto& name = *static_cast<const std::string_view*>(text);
          *selected = reinterpret_cast<const unsigned char*>(name.data());
          *size = static_cast<unsigned char>(name.size());
          return SSL_TLSEXT_ERR_OK;
        },
        const_cast<std::string_view*>(&chosen));
    OpenSslEnd end(context.get(), OpenSslEnd::Side::server);
    HandshakeSurvey survey({.server_name = "", .protocols = {"http/1.1", "postgresql"}});
    const auto status = run(survey, end);
    // A later OpenSSL refuses the other one.
    ASSERT_TRUE(status == EngineStatus::ready || chosen != "postgresql");
    if (status != EngineStatus::ready) continue;
    EXPECT_EQ(survey.result().protocol, chosen == "postgresql" ? chosen : "");
    EXPECT_EQ(survey.result().chose_unknown_protocol, chosen != "postgresql");
  }
}

TEST_F(AHandshakeSurvey, FailsIfTheServerCloses) {
  HandshakeSurvey survey({.server_name = ""});
  std::vector<std::uint8_t> memory(65'536);
  Outgoing out(memory);
  ByteView nothing;
  ASSERT_EQ(survey.handshake(nothing, out), EngineStatus::want_input);
  survey.end_of_input();
  ASSERT_EQ(survey.handshake(nothing, out), EngineStatus::failed);
  EXPECT_EQ(survey.failure().failure, Failure::unexpected_eof);
  EXPECT_EQ(survey.refusal(), HandshakeSurvey::Refusal::none);
}

TEST_F(AHandshakeSurvey, FailsWithBytesThatAreNotTls) {
  HandshakeSurvey survey({.server_name = ""});
  std::vector<std::uint8_t> memory(65'536);
  Outgoing out(memory);
  const Bytes reply = bytes_of("HTTP/1.1 400 Bad Request");
  ByteView unread(reply);
  EXPECT_EQ(survey.handshake(unread, out), EngineStatus::failed);
}

}  // namespace
}  // namespace pgveil::tls::test
