// The parts of which new certificates and CRLs are made. This header is internal to tls/. All functions throw
// std::runtime_error if OpenSSL fails.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tls/certificate_authority.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

[[nodiscard]] PrivateKey generate_key(NewKey key);
// Returns the hash that signatures of `key` use; null: the algorithm has its own (Ed25519, Ed448).
[[nodiscard]] const EVP_MD* signature_hash(EVP_PKEY* key);

// Returns a certificate with a random serial and without a signature. The issuer is not set.
[[nodiscard]] Certificate unsigned_certificate(EVP_PKEY* key, const std::string& common_name,
                                               const Validity& validity);
// Throws std::runtime_error if it cannot be read.
[[nodiscard]] Certificate read_certificate(const std::string& pem);
void set_random_serial(X509* certificate);
void set_validity(X509* certificate, const Validity& validity);

// Adds an extension whose value is in the form of x509v3_config(5). `issuer` may be `certificate` itself.
void add_extension(X509* certificate, X509* issuer, int nid, const char* value);
// Adds the subject alternative name: the names, or the subject itself as a directoryName if there are none, because some
// programs require one. It is critical if the subject is empty (RFC 5280, 4.2.1.6).
void add_alternative_names(X509* certificate, const NewCertificate& names);

[[nodiscard]] Crl unsigned_crl(X509* issuer, std::span<const RevokedSerial> revoked, std::int64_t number,
                               const Validity& validity);

[[nodiscard]] std::string pem_of(X509* certificate);
[[nodiscard]] std::string pem_of(X509_CRL* crl);
// Returns PKCS #8. The caller must wipe it.
[[nodiscard]] std::string pem_of(EVP_PKEY* key);

// Throws std::runtime_error, with `what` and OpenSSL's error, unless `is_done`.
void require(bool is_done, std::string_view what);

}  // namespace pgveil::tls
