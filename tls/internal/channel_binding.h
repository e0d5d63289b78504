// What SCRAM-SHA-256-PLUS binds a login to. For the .cc files of this layer only.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// tls-server-end-point of a server's certificate: its DER, hashed with the digest of the signature that it
// carries, SHA-256 in place of MD5 and SHA-1 (RFC 5929, section 4.1; be-secure-openssl.c:
// be_tls_get_certificate_hash). nullopt where that signature has no digest of its own (Ed25519, Ed448,
// ML-DSA): the binding is undefined then, and PostgreSQL's libpq and server fail.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> server_end_point_of(X509* certificate);

}  // namespace pgveil::tls
