// Where the record layer has its keys from. OpenSSL's handshake tells the traffic secrets of a connection in
// one way only, as lines of a key log (SSL_CTX_set_keylog_callback()); here they come no further than to the
// engine of their connection. For the .cc files of this layer only.
#pragma once

#include "tls/internal/openssl.h"
#include "tls/internal/traffic_key.h"

namespace pgveil::tls {

// Of the first generation, for application data (RFC 8446, 7.1). Empty before TLS 1.3.
struct TrafficSecrets {
  TrafficSecret client;  // of what the client writes
  TrafficSecret server;
};

// Lets the connections of `context` tell their secrets.
void tell_traffic_secrets(SSL_CTX* context);
// To whom `ssl` tells them from here on; null: to nobody.
void tell_traffic_secrets(SSL* ssl, TrafficSecrets* to);

}  // namespace pgveil::tls
