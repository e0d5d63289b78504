#include "tls/internal/traffic_secrets.h"

#include <gtest/gtest.h>

#include <array>

namespace pgveil::tls::test {
namespace {

TrafficSecret secret_of(std::size_t size) {
  static constexpr std::array<std::uint8_t, TrafficSecret::kMaxBytes> kBytes{};
  return TrafficSecret(ByteView(kBytes).first(size));
}

// With other sizes, the connection stays OpenSSL's.
TEST(TrafficSecrets, FitTheHashOfTheCipherSuite) {
  const CipherSuite* sha256 = find_cipher_suite(0x1301);  // TLS_AES_128_GCM_SHA256
  const CipherSuite* sha384 = find_cipher_suite(0x1302);  // TLS_AES_256_GCM_SHA384
  ASSERT_TRUE(sha256 != nullptr && sha384 != nullptr);
  constexpr std::array<std::size_t, 3> kSizes = {0, 32, 48};
  for (const std::size_t client : kSizes)
    for (const std::size_t server : kSizes) {
      const TrafficSecrets secrets{secret_of(client), secret_of(server)};
      EXPECT_EQ(fit(secrets, *sha256), client == 32 && server == 32) << client << ", " << server;
      EXPECT_EQ(fit(secrets, *sha384), client == 48 && server == 48) << client << ", " << server;
    }
}

}  // namespace
}  // namespace pgveil::tls::test
