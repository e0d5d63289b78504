// Removal of handshake data that OpenSSL's connection keeps although it is not needed any more. It applies to
// connections with OpenSSL's records, and all connections before TLS 1.3. This header is internal to tls/.
#pragma once

#include <openssl/crypto.h>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Most of the data can only be freed by changing objects that OpenSSL lends. Returns whether this is known to
// be safe in the given release: the tests of tls/ have passed with it.
[[nodiscard]] bool may_change_lent_objects(unsigned long openssl_version);

// Frees the keys of the key exchange. The private key could decrypt a recording of this connection. In other
// releases than those of may_change_lent_objects() the keys are freed with the connection.
void forget_key_exchange(SSL* ssl, unsigned long openssl_version = OpenSSL_version_num());
// Wipes the secret for session resumption, in all releases. Frees the peer's certificates, in the releases of
// may_change_lent_objects(). Version and cipher can still be queried.
void forget_peer(SSL* ssl, unsigned long openssl_version = OpenSSL_version_num());

}  // namespace pgveil::tls
