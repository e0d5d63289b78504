// What an OpenSSL connection keeps of its handshake though nobody needs it any more, where the connection
// stays: before TLS 1.3, and wherever the records are OpenSSL's. For the .cc files of this layer only.
#pragma once

#include <openssl/crypto.h>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Most of it can be freed only by changing objects that OpenSSL lends. Returns whether that is known to do no
// harm in this release: the tests of this layer have passed with it.
[[nodiscard]] bool may_change_lent_objects(unsigned long openssl_version);

// The keys of the key exchange: the private one could open what was recorded of this connection. Leaves them
// alone in other releases; they then go with the connection.
void forget_key_exchange(SSL* ssl, unsigned long openssl_version = OpenSSL_version_num());
// The secret that a resumption would begin with, in all releases; and the peer's certificates, in those of
// may_change_lent_objects(). Version and cipher can still be asked for.
void forget_peer(SSL* ssl, unsigned long openssl_version = OpenSSL_version_num());

}  // namespace pgveil::tls
