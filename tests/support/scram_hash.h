// Implements the hash interface of protocol/ with OpenSSL. It counts the calls, so that a test can check that
// two cases need the same work.
#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdexcept>
#include <string_view>

#include "protocol/scram.h"

namespace pgveil::test {

class ScramHash : public protocol::ScramHash {
 public:
  struct Calls {
    int sha256 = 0;
    int hmac_sha256 = 0;
    int equal = 0;
    bool operator==(const Calls&) const = default;
  };

  protocol::SecretKey sha256(protocol::ByteView bytes) const override {
    ++calls_.sha256;
    protocol::SecretKey hash;
    if (EVP_Digest(bytes.data(), bytes.size(), hash.bytes().data(), nullptr, EVP_sha256(), nullptr) != 1)
      throw std::runtime_error("no SHA-256");
    return hash;
  }

  protocol::SecretKey hmac_sha256(protocol::ByteView key, protocol::ByteView bytes) const override {
    ++calls_.hmac_sha256;
    protocol::SecretKey mac;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(),
             mac.bytes().data(), nullptr) == nullptr)
      throw std::runtime_error("no HMAC");
    return mac;
  }

  bool equal(protocol::ByteView left, protocol::ByteView right) const override {
    ++calls_.equal;
    return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
  }

  [[nodiscard]] const Calls& calls() const { return calls_; }

 private:
  mutable Calls calls_;
};

inline protocol::SecretKey salted_password(std::string_view password, const protocol::ScramSalting& salting) {
  protocol::SecretKey key;
  if (PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salting.salt.data(),
                        static_cast<int>(salting.salt.size()), static_cast<int>(salting.iterations),
                        EVP_sha256(), protocol::SecretKey::kBytes, key.bytes().data()) != 1)
    throw std::runtime_error("no PBKDF2");
  return key;
}

}  // namespace pgveil::test
