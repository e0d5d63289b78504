// What a handshake has agreed on, as plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tls/peer_certificate.h"

namespace pgveil::tls {

struct Established {
  std::string version;                 // "TLSv1.3"
  std::string cipher;                  // "TLS_AES_256_GCM_SHA384"
  std::string group;                   // "X25519"; "-" where the key exchange has none
  bool post_quantum = false;           // whether the group has ML-KEM
  bool own_records = false;            // the records are ours from here on, not OpenSSL's
  bool alpn_agreed = false;            // on `postgresql`
  std::string server_name;             // SNI, as the client sent it, on the server's end; empty: none
  std::string own_sha256_fingerprint;  // of the certificate that we showed; empty: none
  std::optional<PeerCertificate> peer;
  // tls-server-end-point (RFC 5929) of the server's certificate, to which SCRAM-SHA-256-PLUS binds a login:
  // of ours on the server's end, of the peer's on the client's. Empty: it is undefined for that certificate.
  std::vector<std::uint8_t> own_end_point;
  std::vector<std::uint8_t> peer_end_point;
};

}  // namespace pgveil::tls
