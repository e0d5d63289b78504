#include "tls/digest.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cassert>
#include <cstdlib>

#include "tls/buffers.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {
namespace {

using Digest = std::unique_ptr<EVP_MD, Freed<EVP_MD_free>>;

}  // namespace

std::string missing_algorithm() {
  std::array<std::uint8_t, 32> bytes{};
  ERR_clear_error();
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    return "no random numbers: " + take_openssl_error();
  if (EVP_Digest(bytes.data(), bytes.size(), bytes.data(), nullptr, EVP_sha256(), nullptr) != 1)
    return "no SHA-256: " + take_openssl_error();
  return "";
}

void fill_random(std::span<std::uint8_t> bytes) {
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
}

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

void wipe(std::span<std::uint8_t> secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
}

Sha256 sha256(std::span<const std::uint8_t> bytes) {
  Sha256 hash;
  if (EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, EVP_sha256(), nullptr) != 1) std::abort();
  return hash;
}

Sha256 hmac_sha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> bytes) {
  // HMAC() treats null pointers for both as a query for the size.
  constexpr std::uint8_t kNothing = 0;
  const std::uint8_t* key_bytes = key.empty() ? &kNothing : key.data();
  Sha256 mac;
  if (HMAC(EVP_sha256(), key_bytes, static_cast<int>(key.size()), bytes.data(), bytes.size(), mac.data(),
           nullptr) == nullptr)
    std::abort();
  return mac;
}

Sha256 pbkdf2_hmac_sha256(std::string_view password, std::span<const std::uint8_t> salt,
                          std::uint32_t iterations) {
  assert(iterations >= 1);
  Sha256 key;
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salt.data(),
                        static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                        static_cast<int>(key.size()), key.data()) != 1)
    std::abort();
  return key;
}

std::string hexadecimal(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

std::optional<std::string> md5_hex(std::span<const std::uint8_t> bytes) {
  const Digest md5(EVP_MD_fetch(nullptr, "MD5", nullptr));
  std::array<std::uint8_t, 16> hash{};
  if (!md5 || EVP_Digest(bytes.data(), bytes.size(), hash.data(), nullptr, md5.get(), nullptr) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return hexadecimal(hash);
}

std::optional<std::string> md5_password(std::string_view user, std::string_view password,
                                        std::span<const std::uint8_t> salt) {
  std::string text;
  text.reserve(password.size() + user.size());  // a reallocation would leave a copy of the password in memory
  text.append(password).append(user);
  auto stored = md5_hex(bytes_in(text));  // as in pg_authid; as good as the password for an MD5 login
  wipe(text);
  if (!stored) return std::nullopt;

  stored->append(salt.begin(), salt.end());
  auto answer = md5_hex(bytes_in(*stored));
  wipe(*stored);
  if (answer) answer->insert(0, "md5");
  return answer;
}

bool equal_in_constant_time(std::span<const std::uint8_t> left, std::span<const std::uint8_t> right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace pgveil::tls
