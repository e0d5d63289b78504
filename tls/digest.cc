#include "tls/digest.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <cstdlib>

namespace pgveil::tls {

void fill_random(std::span<std::uint8_t> bytes) {
  // Without randomness nothing here can be done safely.
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

void wipe(std::span<std::uint8_t> secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
}

}  // namespace pgveil::tls
