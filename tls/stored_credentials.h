// What a file of certificates, CRLs or a private key holds, as plain values (`pgveil certs show`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tls/certificate_authority.h"
#include "tls/credentials.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

struct StoredCertificate {
  PeerCertificate values;
  std::string pem;
  std::vector<std::uint8_t> der;
  std::string key;        // "ECDSA P-256", "RSA 3072 bits" or "Ed25519"
  std::string signature;  // "ecdsa-with-SHA256"
  std::string key_id;     // hexadecimal SHA-256 of the public key: the same for all certificates of this key
  bool is_authority = false;
  bool is_self_signed = false;
  bool is_for_servers = false;  // by its extended key usage and its key usage
  bool is_for_clients = false;
  bool gives_channel_binding = false;  // tls-server-end-point is defined for it
  std::string issuer_url =
      {};  // where its issuer's certificate can be fetched (RFC 5280, 4.2.2.1); may be empty
};

struct StoredCrl {
  std::string issuer;                       // in the format of RFC 2253
  std::optional<std::string> number;        // decimal
  std::int64_t this_update = 0;             // in seconds since 1970
  std::optional<std::int64_t> next_update;  // it expires then
  std::vector<RevokedSerial> revoked;
};

struct StoredKey {
  std::string key;     // as in StoredCertificate; empty: it is encrypted
  bool is_pem = true;  // false: DER, which pgveil takes if the key is not encrypted
  // Why libpq and PostgreSQL refuse the file: its mode.
  std::optional<SettingError> fault;
};

struct StoredFile {
  std::vector<StoredCertificate> certificates;
  std::vector<StoredCrl> crls;
  std::optional<StoredKey> key;
  std::size_t blocks = 0;  // of PEM, also those that are none of these
};

// Returns the values of one certificate in PEM. Throws std::runtime_error if it cannot be read.
[[nodiscard]] StoredCertificate stored_certificate(const std::string& pem);
// Returns the values of each certificate that a peer has sent, in the same order. Leaves out what cannot be parsed.
[[nodiscard]] std::vector<StoredCertificate> stored_certificates(const PeerChain& chain);
// Reads a PEM file. The error has no setting; it is also an error if the file holds neither certificates nor CRLs nor a key.
[[nodiscard]] tl::expected<StoredFile, SettingError> read_stored_file(const std::string& path);

}  // namespace pgveil::tls
