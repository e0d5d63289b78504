// Tests TlsStream over a FakeStream: what it does if its peer sends more than is read, or does not read.
#include "proxy/net/tls_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/fake_stream.h"
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

}  // namespace
}  // namespace pgveil::proxy
