// The results of a handshake, as plain values. This header is internal to tls/.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tls/established.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Describes a handshake that is done.
[[nodiscard]] Established describe(SSL* ssl);
// Returns the certificates that the peer has sent; null: it has sent none. If they are unusually large, returns only
// those of the verified chain, so that a peer cannot make pgveil keep what nobody needs.
[[nodiscard]] std::shared_ptr<const PeerChain> peer_chain(const SSL* ssl);
// Returns the agreed ALPN protocol; empty: none. The text belongs to `ssl`.
[[nodiscard]] std::string_view agreed_protocol(const SSL* ssl);
// Returns the name in SNI, also before the handshake is done; empty: none.
[[nodiscard]] std::string server_name(const SSL* ssl);

}  // namespace pgveil::tls
