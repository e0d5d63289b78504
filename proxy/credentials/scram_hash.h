// OpenSSL's hashes for protocol/'s SCRAM, which has no cryptographic library of its own.
#pragma once

#include "protocol/scram.h"

namespace pgveil::proxy {

class ScramHash final : public protocol::ScramHash {
 public:
  [[nodiscard]] protocol::SecretKey sha256(protocol::ByteView bytes) const override;
  [[nodiscard]] protocol::SecretKey hmac_sha256(protocol::ByteView key,
                                                protocol::ByteView bytes) const override;
  [[nodiscard]] bool equal(protocol::ByteView left, protocol::ByteView right) const override;
};

// Without state, for everyone.
[[nodiscard]] const ScramHash& scram_hash();

// SaltedPassword. Takes its time: a few milliseconds for 4096 iterations.
[[nodiscard]] protocol::SecretKey salted_password(std::string_view password,
                                                  const protocol::ScramSalting& salting);

// A nonce for one exchange.
[[nodiscard]] std::string new_scram_nonce();

}  // namespace pgveil::proxy
