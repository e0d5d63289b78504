// Conversion of OpenSSL's certificates to plain values. This header is internal to tls/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tls/internal/openssl.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

// Returns the name in the format of RFC 2253, as PostgreSQL's clientname=DN uses it (be-secure-openssl.c:
// X509_NAME_print_ex).
[[nodiscard]] std::string name_text(const X509_NAME* name);
// Returns a serial number in lower-case hexadecimal.
[[nodiscard]] std::string serial_text(const ASN1_INTEGER* serial);
[[nodiscard]] std::int64_t seconds_since_1970(const ASN1_TIME* time);
[[nodiscard]] CertificateNames names_of(X509* certificate);
[[nodiscard]] PeerCertificate values_of(X509* certificate);
// Throws std::bad_alloc.
[[nodiscard]] std::vector<std::uint8_t> der_of(const X509* certificate);
// Returns the SHA-256 of the public key, in lower-case hexadecimal.
[[nodiscard]] std::string key_id_of(const X509* certificate);
// Returns the SHA-256 of the DER, in lower-case hexadecimal.
[[nodiscard]] std::string fingerprint_of(const X509* certificate);
// Returns text to follow "the certificate" in a sentence: `of "CN=db"`, or another name of the certificate.
[[nodiscard]] std::string holder_of(X509* certificate);

}  // namespace pgveil::tls
