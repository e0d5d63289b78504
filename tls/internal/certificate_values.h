// From OpenSSL's certificates to plain values. For the .cc files of this layer only.
#pragma once

#include <cstdint>
#include <string>

#include "tls/internal/openssl.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

// RFC 2253, as PostgreSQL's clientname=DN reads it (be-secure-openssl.c: X509_NAME_print_ex).
[[nodiscard]] std::string name_text(const X509_NAME* name);
[[nodiscard]] std::int64_t seconds_since_1970(const ASN1_TIME* time);
[[nodiscard]] CertificateNames names_of(X509* certificate);
[[nodiscard]] PeerCertificate values_of(X509* certificate);
// Of the DER, SHA-256, in lower-case hexadecimal.
[[nodiscard]] std::string fingerprint_of(const X509* certificate);
// To follow "the certificate" in a sentence: `of "CN=db"`, or what else it has for a name.
[[nodiscard]] std::string holder_of(X509* certificate);

}  // namespace pgveil::tls
