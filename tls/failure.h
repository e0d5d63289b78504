// pgveil's names for the TLS and certificate errors on which an operator can act, as plain values.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tls/peer_certificate.h"

namespace pgveil::tls {

enum class Failure {
  untrusted_issuer,         // no chain to a trusted root: unknown CA, self-signed, incomplete chain
  expired,                  // a certificate of the chain has expired
  not_yet_valid,            // a certificate of the chain is not yet valid
  revoked,                  // a CRL revokes a certificate of the chain
  crl_unusable,             // CRLs are configured, and one is missing, expired or has a bad signature
  wrong_name,               // the leaf is not for the requested host
  wrong_purpose,            // the certificate is not for a server (or client), or an issuer is not a CA
  weak,                     // a key or signature is below OpenSSL's security level
  invalid_certificate,      // any other error of X509_verify_cert()
  no_certificate,           // the peer sent no certificate
  rejected_by_peer,         // the peer's alert rejects our certificate, or demands one
  no_common_version,        // no TLS version in common, detected by us or reported by the peer's alert
  no_common_parameters,     // no cipher, group or signature algorithm in common; or we have no certificate
                            // for the name that the client asked for (SNI)
  no_application_protocol,  // ALPN: no protocol in common, or `postgresql` is required and was not agreed
  alert,                    // any other alert of the peer
  unexpected_eof,           // the connection ended during the handshake, or later without close_notify
  not_tls,                  // the received bytes are not a TLS record
  protocol_error,           // any other error of OpenSSL
  internal_error,           // OpenSSL failed for a reason that a peer cannot cause
};
[[nodiscard]] std::string_view name_of(Failure failure);

// A failure with its details. It holds only values, so it may outlive the connection.
struct FailureReport {
  Failure failure = Failure::protocol_error;
  // OpenSSL's error text, such as "certificate has expired" or "tlsv1 alert unknown ca".
  std::string reason;
  // The certificate that failed verification: its subject, its issuer, and its depth (0 = leaf).
  int depth = 0;
  std::string subject;
  std::string issuer;
  // Details for the operator, as full sentences, or empty; such as
  // `Host is "10.0.0.7"; the certificate names "db01.example.com", "db02.example.com".` or
  // `The certificate of "CN=db01" expired on 2026-01-31 12:00:00 UTC.`
  std::string detail;
  // The peer's leaf certificate, if a certificate of its chain failed verification. It is not verified:
  // anyone can have written its contents. Null: the peer has sent none.
  std::shared_ptr<const PeerCertificate> peer = {};
};

}  // namespace pgveil::tls
