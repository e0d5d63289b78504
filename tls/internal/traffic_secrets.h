// The source of the record layer's keys. OpenSSL exports the traffic secrets of a connection only as lines of
// a key log (SSL_CTX_set_keylog_callback()). Here they are passed to the engine of their connection and to
// nothing else. This header is internal to tls/.
#pragma once

#include "tls/internal/openssl.h"
#include "tls/internal/traffic_key.h"

namespace pgveil::tls {

// The first secrets for application data (RFC 8446, 7.1). Empty before TLS 1.3.
struct TrafficSecrets {
  TrafficSecret client;  // for records that the client writes
  TrafficSecret server;
};

// Returns whether the length of both secrets is that of the hash of the cipher suite.
[[nodiscard]] bool fit(const TrafficSecrets& secrets, const CipherSuite& suite);

// Enables the export of secrets for the connections of `context`.
void tell_traffic_secrets(SSL_CTX* context);
// Sets where the secrets of `ssl` are stored from now on; null: nowhere.
void tell_traffic_secrets(SSL* ssl, TrafficSecrets* to);

}  // namespace pgveil::tls
