#include "proxy/session/client_opening.h"

#include <gtest/gtest.h>

#include "tests/support/certificates.h"
#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

using OpeningState = ClientOpening::State;

const std::string kStartup("\0\0\0\x12\0\x03\0\0user\0app\0\0", 18);
const std::string kSslRequest("\0\0\0\x08\x04\xd2\x16\x2f", 8);
const std::string kGssEncRequest("\0\0\0\x08\x04\xd2\x16\x30", 8);
const std::string kCancelRequest("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x2a", 16);

class AClientOpening : public test::AStage {
 protected:
  ClientOpening& open(const std::string& listener = "", const std::string& limits = "") {
    opening_.emplace(begin(listener, "host = \"/nonexistent\"", limits), "");
    return *opening_;
  }

  std::optional<ClientOpening> opening_;
};

TEST_F(AClientOpening, TakesAStartupMessageAndLeavesWhatFollows) {
  ClientOpening& opening = open();
  client_->incoming = {kStartup + "later"};
  ASSERT_EQ(opening.advance(), OpeningState::startup);
  const OpenedClient client = opening.take_client();
  EXPECT_EQ(client.startup.user(), "app");
  EXPECT_EQ(std::string(client.unread.begin(), client.unread.end()), "later");
  EXPECT_EQ(client.tls, nullptr);
}

TEST_F(AClientOpening, WaitsUntilTheLastByteHasCome) {
  ClientOpening& opening = open();
  for (std::size_t i = 0; i + 1 < kStartup.size(); ++i) {
    client_->incoming = {kStartup.substr(i, 1)};
    ASSERT_EQ(opening.advance(), OpeningState::negotiating) << i;
  }
  client_->incoming = {kStartup.substr(kStartup.size() - 1)};
  EXPECT_EQ(opening.advance(), OpeningState::startup);
}

TEST_F(AClientOpening, GivesTheDatabaseThatTheListenerFixes) {
  ClientOpening& opening = open("database = \"ledger\"");
  client_->incoming = {kStartup};
  ASSERT_EQ(opening.advance(), OpeningState::startup);
  EXPECT_EQ(opening.take_client().startup.database(), "ledger");
}

TEST_F(AClientOpening, DeclinesEncryptionThatTheListenerDoesNotOffer) {
  ClientOpening& opening = open();
  client_->incoming = {kGssEncRequest, kSslRequest};
  EXPECT_EQ(opening.advance(), OpeningState::negotiating);
  EXPECT_EQ(client_->written, "NN");
}

TEST_F(AClientOpening, NamesACancelRequest) {
  ClientOpening& opening = open();
  client_->incoming = {kCancelRequest};
  ASSERT_EQ(opening.advance(), OpeningState::cancel);
  EXPECT_EQ(opening.take_cancel_request().process_id, 7U);
  EXPECT_EQ(opening.connection().tls, nullptr);
}

const std::string kFromLoopback = "proxy_protocol_from = \"127.0.0.0/8\"";
const std::string kProxyLine = "PROXY TCP4 192.0.2.7 198.51.100.9 56324 5432\r\n";

TEST_F(AClientOpening, TakesTheAddressInAProxyHeaderAndPassesOnWhatFollows) {
  ClientOpening& opening = open(kFromLoopback);
  client_->incoming = {kProxyLine.substr(0, 3), kProxyLine.substr(3) + kStartup + "later"};
  ASSERT_EQ(opening.advance(), OpeningState::startup);
  EXPECT_EQ(context_->origin.address().text(), "192.0.2.7:56324");
  const OpenedClient client = opening.take_client();
  EXPECT_EQ(client.unread.size(), 5U);
  ASSERT_TRUE(client.destination);
  EXPECT_EQ(client.destination->port, 5432);
}

TEST_F(AClientOpening, ForgetsTheProcessOfAProxy) {
  opening_.emplace(begin(kFromLoopback, "host = \"/nonexistent\""), "root");
  client_->incoming = {"PROXY UNKNOWN\r\n" + kStartup};
  ASSERT_EQ(opening_->advance(), OpeningState::startup);
  EXPECT_EQ(opening_->take_client().unix_user, "");
}

TEST_F(AClientOpening, RefusesAProxyWithoutAHeader) {
  ClientOpening& opening = open(kFromLoopback);
  client_->incoming = {kStartup};
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::proxy_header_invalid);
}

TEST_F(AClientOpening, RefusesAProxyThatLeavesInsideItsHeader) {
  ClientOpening& opening = open(kFromLoopback);
  client_->incoming = {kProxyLine.substr(0, 3)};
  client_->end = Stream::Status::ended;
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::proxy_header_invalid);
}

TEST_F(AClientOpening, HasSentNothingIfItIsAHeaderAlone) {
  ClientOpening& opening = open(kFromLoopback);
  client_->incoming = {kProxyLine};
  client_->end = Stream::Status::ended;
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::no_startup);
}

TEST_F(AClientOpening, TakesNoProxyHeaderFromAnotherAddress) {
  ClientOpening& opening = open("proxy_protocol_from = \"10.0.0.0/8\"");
  client_->incoming = {kProxyLine + kStartup};
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::malformed_startup);
  EXPECT_EQ(context_->origin.address().text(), "127.0.0.1:40000");
}

TEST_F(AClientOpening, NeedsNoProxyHeaderIfItIsOptional) {
  ClientOpening& opening = open(kFromLoopback + "\nproxy_protocol = \"optional\"");
  client_->incoming = {kStartup};
  EXPECT_EQ(opening.advance(), OpeningState::startup);
}

TEST_F(AClientOpening, AnswersAnOldProtocolInItsOwnFormat) {
  ClientOpening& opening = open();
  client_->incoming = {std::string("\0\0\0\x09\0\x02\0\0\0", 9)};
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::unsupported_protocol);
  EXPECT_EQ(opening.error_format(), ErrorFormat::protocol_2);
}

TEST_F(AClientOpening, FailsIfTheClientLeaves) {
  ClientOpening& opening = open();
  client_->end = Stream::Status::ended;
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::no_startup);
}

TEST_F(AClientOpening, FailsAfterTheStartupTimeout) {
  ClientOpening& opening = open("", "startup_timeout = \"1ms\"");
  ASSERT_TRUE(turn_until([&] { return context_->deadline.passed(); }));
  ASSERT_EQ(opening.advance(), OpeningState::failed);
  EXPECT_EQ(opening.ending().reason, Reason::startup_timeout);
}

class AClientOpeningWithTls : public AClientOpening {
 protected:
  void SetUp() override {
    const auto identity = test::authority("localhost");
    open("ssl_cert_file = \"" + folder_.write("server.crt", identity.certificate_pem()) +
         "\"\nssl_key_file = \"" + folder_.write("server.key", identity.key_pem()) + '"');
  }

  test::TemporaryFolder folder_;
};

TEST_F(AClientOpeningWithTls, BeginsAHandshakeInWhichNoErrorCanBeRead) {
  EXPECT_EQ(opening_->error_format(), ErrorFormat::protocol_3);
  client_->incoming = {kSslRequest};
  test::FakeStream& below_tls = *client_;  // from now on, the inner stream of TLS
  ASSERT_EQ(opening_->advance(), OpeningState::accepting_tls);
  EXPECT_EQ(below_tls.written, "S");
  EXPECT_EQ(opening_->error_format(), ErrorFormat::none);
  EXPECT_EQ(opening_->advance(), OpeningState::accepting_tls);
}

TEST_F(AClientOpeningWithTls, FailsIfTheClientSendsNoClientHello) {
  client_->incoming = {kSslRequest};
  test::FakeStream& below_tls = *client_;
  ASSERT_EQ(opening_->advance(), OpeningState::accepting_tls);
  below_tls.end = Stream::Status::ended;
  ASSERT_EQ(opening_->advance(), OpeningState::failed);
  EXPECT_NE(opening_->ending().detail.find("left without a ClientHello"), std::string::npos);
  EXPECT_EQ(opening_->error_format(), ErrorFormat::none);
}

// CVE-2021-23214: plaintext must not be read as if it had been encrypted.
TEST_F(AClientOpeningWithTls, FailsIfPlaintextFollowsTheSslRequest) {
  client_->incoming = {kSslRequest + kStartup};
  ASSERT_EQ(opening_->advance(), OpeningState::failed);
  EXPECT_EQ(opening_->ending().reason, Reason::unencrypted_data_after_ssl_request);
}

}  // namespace
}  // namespace pgveil::proxy
