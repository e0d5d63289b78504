// What a handshake has agreed on, as plain values. For the .cc files of this layer only.
#pragma once

#include <string>
#include <string_view>

#include "tls/established.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Of a handshake that is done.
[[nodiscard]] Established describe(SSL* ssl);
// By ALPN; empty: none. Belongs to `ssl`.
[[nodiscard]] std::string_view agreed_protocol(const SSL* ssl);
// By SNI, also before the handshake is done; empty: none.
[[nodiscard]] std::string server_name(const SSL* ssl);

}  // namespace pgveil::tls
