// What an OpenSSL connection keeps of its handshake though nobody needs it any more, where the connection
// stays: before TLS 1.3, and with the suites that are not ours. For the .cc files of this layer only.
#pragma once

#include "tls/openssl.h"

namespace pgveil::tls {

// The keys of the key exchange: the private one could open what was recorded of this connection.
void forget_key_exchange(SSL* ssl);
// The peer's certificates, and the secret that a resumption would begin with. Version and cipher can still be
// asked for.
void forget_peer(SSL* ssl);

}  // namespace pgveil::tls
