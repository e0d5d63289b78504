// The results of a handshake, as plain values.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tls/peer_certificate.h"

namespace pgveil::tls {

struct Established {
  std::string version;                 // "TLSv1.3"
  std::string cipher;                  // "TLS_AES_256_GCM_SHA384"
  std::string group;                   // "X25519"; "-" if the key exchange has no group
  bool post_quantum = false;           // true if the group contains ML-KEM
  bool own_records = false;            // our record layer handles all later records, not OpenSSL
  bool alpn_agreed = false;            // ALPN protocol `postgresql`
  std::string server_name;             // on the server's side: the name in the client's SNI; empty: none
  std::string own_sha256_fingerprint;  // of the certificate that we presented; empty: none
  std::optional<PeerCertificate> peer;
  // Set only with HandshakeSettings::keep_peer_chain, and only if there is a `peer`.
  std::shared_ptr<const PeerChain> peer_chain;
  // tls-server-end-point (RFC 5929) of the server's certificate, to which SCRAM-SHA-256-PLUS binds a login.
  // On the server's side it is of our certificate, on the client's side of the peer's. Empty: it is undefined
  // for that certificate.
  std::vector<std::uint8_t> own_end_point;
  std::vector<std::uint8_t> peer_end_point;
};

}  // namespace pgveil::tls
