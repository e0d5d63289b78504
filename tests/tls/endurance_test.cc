// So many bytes through one connection that every key is replaced, with OpenSSL as the peer. The test takes
// minutes, so it is run manually:
//
//   build/release/tests/tls/tls_test --gtest_also_run_disabled_tests --gtest_filter='Endurance*'
//
// PGVEIL_TEST_GIBIBYTES is the number of GiB in each direction; the default is 300.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tests/tls/peers.h"
#include "tls/engine.h"

namespace pgveil::tls::test {
namespace {

constexpr std::size_t kBatch = std::size_t{1} << 20U;

std::uint64_t batches() {
  const char* word = std::getenv("PGVEIL_TEST_GIBIBYTES");
  return (word == nullptr ? 300 : std::strtoull(word, nullptr, 10)) * 1024;
}

// The numbers of KeyUpdates that the peer has received and sent.
struct Seen {
  int received = 0;
  int sent = 0;
};

class Endurance : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(shake_hands(engine_, peer_), Engine::Status::ready);
    SSL_set_msg_callback(peer_.ssl(), [](int is_sent, int, int type, const void* message, std::size_t size,
                                         SSL*, void* seen) {
      constexpr unsigned char kKeyUpdate = 24;
      if (type != SSL3_RT_HANDSHAKE || size == 0 || *static_cast<const unsigned char*>(message) != kKeyUpdate)
        return;
      ++(is_sent != 0 ? static_cast<Seen*>(seen)->sent : static_cast<Seen*>(seen)->received);
    });
    SSL_set_msg_callback_arg(peer_.ssl(), &seen_);
    for (std::size_t i = 0; i < kBatch; ++i) batch_[i] = static_cast<std::uint8_t>(i * 2'654'435'761U >> 13U);
  }

  // Gives the peer's bytes to the engine, and the engine's response to the peer. Returns false if a byte is
  // wrong.
  [[nodiscard]] bool engine_takes(const Bytes& sent, std::size_t wanted) {
    ByteView ciphertext(sent);
    std::size_t size = 0;
    Outgoing out(memory_);
    while (!ciphertext.empty() || size < wanted) {
      const auto read = engine_.engine().read(ciphertext, std::span(plaintext_).subspan(size), out);
      size += read.size;
      if (read.status != Engine::Status::want_input && read.status != Engine::Status::ready) return false;
      if (read.status == Engine::Status::want_input && size < wanted) return false;
    }
    if (!out.written().empty()) {
      peer_.give({out.written().begin(), out.written().end()});
      char nothing = 0;
      if (SSL_read(peer_.ssl(), &nothing, 1) > 0) return false;  // the peer reads the KeyUpdate
    }
    return size == wanted && std::memcmp(plaintext_.data(), batch_.data(), wanted) == 0;
  }

  Site site_;
  SslContext context_ = openssl_server(site_.server);
  EngineEnd engine_ = site_.engine_to_server();
  OpenSslEnd peer_{context_.get(), OpenSslEnd::Side::server};
  Seen seen_;
  Bytes batch_ = Bytes(kBatch);
  Bytes plaintext_ = Bytes(plaintext_room(2 * kBatch));
  Bytes memory_ = Bytes(ciphertext_room(kBatch));
};

TEST_F(Endurance, DISABLED_OfWhatThePeerSends) {
  for (std::uint64_t i = 0; i < batches(); ++i) {
    ASSERT_EQ(SSL_write(peer_.ssl(), batch_.data(), static_cast<int>(kBatch)), static_cast<int>(kBatch)) << i;
    ASSERT_TRUE(engine_takes(peer_.take_sent(), kBatch)) << "MiB " << i << ": " << engine_.failure().reason;
  }
  std::printf("KeyUpdates of ours: %d, of the peer: %d\n", seen_.received, seen_.sent);
  if (records_under_test() == Records::own && batches() >= 257 * 1024) {
    EXPECT_GE(seen_.received, 1);  // it asks for a KeyUpdate of the peer
    EXPECT_GE(seen_.sent, 1);
  }
}

TEST_F(Endurance, DISABLED_OfWhatWeSend) {
  for (std::uint64_t i = 0; i < batches(); ++i) {
    ByteView rest(batch_);
    Outgoing out(memory_);
    ASSERT_EQ(engine_.engine().write(rest, out), Engine::Status::ready) << i;
    peer_.give({out.written().begin(), out.written().end()});
    std::size_t size = 0;
    while (size < kBatch) {
      const int read = SSL_read(peer_.ssl(), plaintext_.data() + size, static_cast<int>(kBatch - size));
      ASSERT_GT(read, 0) << "MiB " << i;
      size += static_cast<std::size_t>(read);
    }
    ASSERT_EQ(std::memcmp(plaintext_.data(), batch_.data(), kBatch), 0) << i;
  }
  std::printf("KeyUpdates of ours: %d, of the peer: %d\n", seen_.received, seen_.sent);
  if (records_under_test() == Records::own && batches() >= 257 * 1024) {
    EXPECT_GE(seen_.received, 1);
  }
}

}  // namespace
}  // namespace pgveil::tls::test
