// The channel binding data of SCRAM-SHA-256-PLUS. This header is internal to tls/.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Returns tls-server-end-point of a server's certificate: its DER, hashed with the digest of its own
// signature, but with SHA-256 in place of MD5 and SHA-1 (RFC 5929, section 4.1; be-secure-openssl.c:
// be_tls_get_certificate_hash). Returns nullopt if that signature has no separate digest (Ed25519, Ed448,
// ML-DSA): the binding is then undefined, and PostgreSQL's libpq and server fail.
[[nodiscard]] std::optional<std::vector<std::uint8_t>> server_end_point_of(X509* certificate);

}  // namespace pgveil::tls
