// The results of a handshake, as plain values. This header is internal to tls/.
#pragma once

#include <string>
#include <string_view>

#include "tls/established.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Describes a handshake that is done.
[[nodiscard]] Established describe(SSL* ssl);
// Returns the agreed ALPN protocol; empty: none. The text belongs to `ssl`.
[[nodiscard]] std::string_view agreed_protocol(const SSL* ssl);
// Returns the name in SNI, also before the handshake is done; empty: none.
[[nodiscard]] std::string server_name(const SSL* ssl);

}  // namespace pgveil::tls
