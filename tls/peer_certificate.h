// A peer's certificate as plain values, so that no object of OpenSSL outlives the handshake.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tls/host_name.h"

namespace pgveil::tls {

// The certificates that a peer has sent, each as DER. Its own certificate is the first one.
using PeerChain = std::vector<std::vector<std::uint8_t>>;

struct PeerCertificate {
  std::string subject;  // format of RFC 2253, as in PostgreSQL's clientname=DN
  std::string issuer;   // the same format
  std::string serial;   // hexadecimal, lower case; a negative one, which RFC 5280 forbids, begins with "-"
  std::string sha256_fingerprint;  // hexadecimal, lower case, of the DER
  std::int64_t not_before = 0;     // seconds since 1970 UTC
  std::int64_t not_after = 0;
  CertificateNames names;

  // Names for identity maps, byte for byte (NULs included), each list in the certificate's order.
  std::vector<std::string> common_names;
  // Whether the subject is text: every attribute is a UTF8String, PrintableString, IA5String or T61String,
  // and none contains a NUL. PostgreSQL reads the bytes of every type as text.
  bool subject_is_text = false;
  std::vector<std::string> dns_names;  // subject alternative names
  std::vector<std::string> uris;
  std::vector<std::string> emails;
};

// Returns a time such as "2026-11-24 02:23:54 UTC".
[[nodiscard]] std::string utc_text(std::int64_t seconds_since_1970);

}  // namespace pgveil::tls
