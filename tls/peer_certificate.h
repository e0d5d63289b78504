// A peer's certificate as plain values, so that nothing of OpenSSL outlives the handshake.
#pragma once

#include <cstdint>
#include <string>

#include "tls/host_name.h"

namespace pgveil::tls {

struct PeerCertificate {
  std::string subject;             // RFC 2253, as PostgreSQL's clientname=DN reads it
  std::string issuer;              // likewise
  std::string serial;              // hexadecimal, lower case
  std::string sha256_fingerprint;  // hexadecimal, lower case, of the DER
  std::int64_t not_before = 0;     // seconds since 1970 UTC
  std::int64_t not_after = 0;
  CertificateNames names;
};

// "2026-11-24 02:23:54 UTC"
[[nodiscard]] std::string utc_text(std::int64_t seconds_since_1970);

}  // namespace pgveil::tls
