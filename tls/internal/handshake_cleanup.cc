#include "tls/internal/handshake_cleanup.h"

#include <array>

#include "tls/version.h"

namespace pgveil::tls {
namespace {

void empty(STACK_OF(X509) * certificates) {
  if (certificates == nullptr) return;
  while (X509* certificate = sk_X509_pop(certificates)) X509_free(certificate);
}

// Overwrites the secret with zeros of the same length.
void overwrite_secret(SSL_SESSION* session) {
  const std::array<unsigned char, 512> zeros{};  // OpenSSL's longest secret has 512 bytes
  const std::size_t size = SSL_SESSION_get_master_key(session, nullptr, 0);
  if (size <= zeros.size()) SSL_SESSION_set1_master_key(session, zeros.data(), size);
}

}  // namespace

// The format is 0xMNN00PP0L.
bool may_change_lent_objects(unsigned long openssl_version) {
  return is_tested_release(
      {static_cast<unsigned>(openssl_version >> 28U), static_cast<unsigned>(openssl_version >> 20U & 0xffU)});
}

// Setting another type of key frees the old content of the key (EVP_PKEY_set_type()).
void forget_key_exchange(SSL* ssl, unsigned long openssl_version) {
  if (!may_change_lent_objects(openssl_version)) return;
  for (const int which : {SSL_CTRL_GET_TMP_KEY, SSL_CTRL_GET_PEER_TMP_KEY}) {
    EVP_PKEY* found = nullptr;
    if (SSL_ctrl(ssl, which, 0, static_cast<void*>(&found)) != 1) continue;
    const PrivateKey key(found);
    EVP_PKEY_set_type(key.get(), EVP_PKEY_X25519);
  }
}

// Frees the chain as received, the verified chain, and the leaf in the session. Reading another session into
// this one keeps only the values that can still be queried, and frees the rest (d2i_SSL_SESSION()).
void forget_peer(SSL* ssl, unsigned long openssl_version) {
  SSL_SESSION* session = SSL_get_session(ssl);
  if (session != nullptr) overwrite_secret(session);
  if (!may_change_lent_objects(openssl_version)) return;
  empty(SSL_get0_verified_chain(ssl));
  empty(SSL_get_peer_cert_chain(ssl));
  const SslSession bare(SSL_SESSION_new());
  if (session == nullptr || bare == nullptr) return;
  SSL_SESSION_set_protocol_version(bare.get(), SSL_version(ssl));
  SSL_SESSION_set_cipher(bare.get(), SSL_get_current_cipher(ssl));
  std::array<unsigned char, 256> der;  // about 30 bytes are used
  unsigned char* end = der.data();
  const int size = i2d_SSL_SESSION(bare.get(), nullptr);
  if (size <= 0 || static_cast<std::size_t>(size) > der.size()) return;
  i2d_SSL_SESSION(bare.get(), &end);
  const unsigned char* begin = der.data();
  d2i_SSL_SESSION(&session, &begin, size);
}

}  // namespace pgveil::tls
