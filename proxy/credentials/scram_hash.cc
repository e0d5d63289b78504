#include "proxy/credentials/scram_hash.h"

#include <array>

#include "protocol/saslprep.h"
#include "tls/digest.h"

namespace pgveil::proxy {

protocol::SecretKey ScramHash::sha256(protocol::ByteView bytes) const {
  return protocol::SecretKey(tls::sha256(bytes));
}

protocol::SecretKey ScramHash::hmac_sha256(protocol::ByteView key, protocol::ByteView bytes) const {
  return protocol::SecretKey(tls::hmac_sha256(key, bytes));
}

bool ScramHash::equal(protocol::ByteView left, protocol::ByteView right) const {
  return tls::equal_in_constant_time(left, right);
}

const ScramHash& scram_hash() {
  static const ScramHash hash;
  return hash;
}

protocol::SecretKey salted_password(std::string_view password, const protocol::ScramSalting& salting) {
  const protocol::SecretText prepared = protocol::saslprep(password);
  return protocol::SecretKey(tls::pbkdf2_hmac_sha256(prepared.view(), salting.salt, salting.iterations));
}

std::string new_scram_nonce() {
  std::array<std::uint8_t, protocol::kScramNonceBytes> random{};
  tls::fill_random(random);
  return protocol::scram_nonce(random);
}

}  // namespace pgveil::proxy
