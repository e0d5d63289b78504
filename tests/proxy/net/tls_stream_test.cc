// Tests TlsStream over a FakeStream: what it does if its peer sends more than is read, or does not read.
#include "proxy/net/tls_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/fake_stream.h"
#include "tests/tls/peers.h"
#include "tls/client_context.h"
#include "tls/engine.h"
#include "tls/server_context.h"

namespace pgveil::proxy {
namespace {

// A record of 16 KiB in the handshake of TLS, full of HelloRequest messages. Clients ignore them (RFC 5246, 7.4.1.1).
std::string hello_requests() {
  return std::string("\x16\x03\x03\x40\0", 5) + std::string(16'384, '\0');
}

class AHandshakeWithAServer : public ::testing::Test {
 protected:
  void SetUp() override {
    const test::TemporaryFolder folder;
    tls::ClientSettings settings;
    settings.sslrootcert = folder.write("root.crt", test::authority("Test Root").certificate_pem());
    const auto context = tls::ClientContext::build(settings);
    ASSERT_TRUE(context);
    auto below = std::make_unique<test::FakeStream>();
    below_ = below.get();
    stream_.emplace(std::move(below), tls::Engine::to_server(*context, {.host = "localhost"}));
    ASSERT_EQ(stream_->shake_hands(scratch_), TlsStream::Handshake::waiting);
  }

  Scratch scratch_{65'536};
  test::FakeStream* below_ = nullptr;
  std::optional<TlsStream> stream_;
};

TEST_F(AHandshakeWithAServer, ReadsABoundedAmountInATurn) {
  for (int i = 0; i < 20; ++i) below_->incoming.push_back(hello_requests());
  const int reads = below_->reads;
  EXPECT_EQ(stream_->shake_hands(scratch_), TlsStream::Handshake::waiting);
  EXPECT_EQ(below_->reads, reads + kMaxReads);
  EXPECT_TRUE(stream_->readable());
}

TEST_F(AHandshakeWithAServer, HasALimitOfItsSize) {
  auto status = TlsStream::Handshake::waiting;
  std::size_t sent = 0;
  for (; status == TlsStream::Handshake::waiting && sent < 2 * tls::Engine::kMaxHandshakeBytes;
       sent += hello_requests().size()) {
    below_->incoming.push_back(hello_requests());
    status = stream_->shake_hands(scratch_);
  }
  EXPECT_EQ(status, TlsStream::Handshake::failed);
  EXPECT_GT(sent, tls::Engine::kMaxHandshakeBytes);
  EXPECT_EQ(stream_->failure().reason, "the TLS handshake is larger than 1 MiB");
}

TEST(AHandshakeWithAClient, ReadsABoundedAmountInATurn) {
  const test::TemporaryFolder folder;
  const auto identity = test::authority("localhost");
  tls::ServerSettings settings;
  settings.certificates = {{.server_names = {},
                            .ssl_cert_file = folder.write("server.crt", identity.certificate_pem()),
                            .ssl_key_file = folder.write("server.key", identity.key_pem())}};
  const auto context = tls::ServerContext::build(settings);
  ASSERT_TRUE(context);
  auto owned = std::make_unique<test::FakeStream>();
  test::FakeStream& below = *owned;
  TlsStream stream(std::move(owned), tls::Engine::to_client(*context, false));
  // A ClientHello of 130,000 bytes, of which the first 112 KiB have come in records of 16 KiB.
  const std::string header("\x16\x03\x01\x40\0", 5);
  below.incoming.push_back(header + std::string("\x01\x01\xfb\xd0\x03\x03", 6) + std::string(16'378, '\0'));
  for (int i = 0; i < 6; ++i) below.incoming.push_back(header + std::string(16'384, '\0'));
  Scratch scratch(65'536);
  EXPECT_EQ(stream.shake_hands(scratch), TlsStream::Handshake::waiting);
  EXPECT_EQ(below.reads, kMaxReads);
}

// --- answers that the peer does not read ---

using tls::test::Bytes;
using tls::test::OpenSslEnd;

// A server of TLS 1.2 after the handshake. It asks for renegotiation, which TlsStream refuses with an alert each time.
class AServerThatAsksForRenegotiation : public ::testing::Test {
 protected:
  void SetUp() override {
    context_ = tls::test::openssl_server(site_.server);
    SSL_CTX_set_max_proto_version(context_.get(), TLS1_2_VERSION);
    server_ = std::make_unique<OpenSslEnd>(context_.get(), OpenSslEnd::Side::server);
    auto below = std::make_unique<test::FakeStream>();
    below_ = below.get();
    stream_.emplace(std::move(below), tls::Engine::to_server(tls::test::Site::build(site_.client_settings()),
                                                             {.host = tls::test::Site::kHost}));
    auto status = stream_->shake_hands(scratch_);
    for (int i = 0; i < 10 && status == TlsStream::Handshake::waiting; ++i) {
      Bytes sent;
      server_->handshake(tls::test::bytes_of(std::exchange(below_->written, "")), sent);
      below_->incoming.emplace_back(sent.begin(), sent.end());
      status = stream_->shake_hands(scratch_);
    }
    ASSERT_EQ(status, TlsStream::Handshake::done);
  }

  std::string request() {
    SSL_renegotiate(server_->ssl());
    Bytes sent;
    server_->handshake({}, sent);
    return {sent.begin(), sent.end()};
  }

  // Sends `requests` requests, each in a read of its own. Returns the status of the last read.
  Stream::Status ask(int requests) {
    auto status = Stream::Status::blocked;
    for (int i = 0; i < requests && status == Stream::Status::blocked; ++i) {
      below_->incoming.push_back(request());
      status = stream_->read(scratch_, 16'384).status;
    }
    return status;
  }

  tls::test::Site site_;
  tls::SslContext context_;
  std::unique_ptr<OpenSslEnd> server_;
  Scratch scratch_{16'384};
  test::FakeStream* below_ = nullptr;
  std::optional<TlsStream> stream_;
};

TEST_F(AServerThatAsksForRenegotiation, IsAnsweredAsLongAsItReads) {
  EXPECT_EQ(ask(2'000), Stream::Status::blocked);
}

TEST_F(AServerThatAsksForRenegotiation, CannotFillTheMemoryByAnswersThatItDoesNotRead) {
  below_->written.clear();
  below_->kernel_room = 0;
  EXPECT_EQ(ask(2'000), Stream::Status::failed);
  EXPECT_LT(stream_->unwritten(), 10'000U);
  EXPECT_EQ(stream_->error(), "the peer requests answers of TLS and does not read them");
  ASSERT_NE(stream_->tls_failure(), nullptr);
}

TEST_F(AServerThatAsksForRenegotiation, CannotDoSoInASingleRead) {
  below_->kernel_room = 0;
  std::string requests;
  while (requests.size() < 16'000) requests += request();
  below_->incoming.push_back(requests);
  EXPECT_EQ(stream_->read(scratch_, 16'384).status, Stream::Status::failed);
}

}  // namespace
}  // namespace pgveil::proxy
