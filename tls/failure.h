// Our names for the TLS and certificate errors on which an operator can act, as plain values.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tls/peer_certificate.h"

namespace pgveil::tls {

enum class Failure {
  untrusted_issuer,         // no chain to a trusted root: unknown CA, self-signed, incomplete chain
  expired,                  // a certificate of the chain
  not_yet_valid,            // a certificate of the chain
  revoked,                  // by a CRL
  crl_unusable,             // CRLs are asked for, and one is missing, expired or badly signed
  wrong_name,               // the leaf is not for the host that was asked
  wrong_purpose,            // not for a server (or client), or an issuer that is no CA
  weak,                     // key or signature below OpenSSL's security level
  invalid_certificate,      // any other verdict of X509_verify_cert()
  no_certificate,           // the peer sent none
  rejected_by_peer,         // the peer's alert says that it did not like our certificate, or wants one
  no_common_version,        // no TLS version in common, ours or as the peer's alert says
  no_common_parameters,     // no cipher, group or signature algorithm in common; or we have no certificate
                            // for the name that the client asked for (SNI)
  no_application_protocol,  // ALPN: none in common, or `postgresql` was not agreed where it must be
  alert,                    // any other alert of the peer
  unexpected_eof,           // the connection ended inside the handshake, or later without close_notify
  not_tls,                  // what came is no TLS record
  protocol_error,           // anything else that OpenSSL calls an error
  internal_error,           // OpenSSL failed at what cannot fail by anything that a peer sends
};
[[nodiscard]] std::string_view name_of(Failure failure);

// A failure with what is known of it. Only values: may outlive the connection.
struct FailureReport {
  Failure failure = Failure::protocol_error;
  // OpenSSL's own words, such as "certificate has expired" or "tlsv1 alert unknown ca".
  std::string reason;
  // For a verdict on a certificate: the subject of the certificate at fault, its issuer, and the depth (0 =
  // leaf).
  int depth = 0;
  std::string subject;
  std::string issuer;
  // What the operator needs to see, as full sentences, or empty; such as
  // `Host is "10.0.0.7"; the certificate names "db01.example.com", "db02.example.com".` or
  // `The certificate of "CN=db01" expired on 2026-01-31 12:00:00 UTC.`
  std::string detail;
  // For a verdict on a certificate: the peer's own one, whichever of its chain is at fault. It is not
  // verified: anybody can have written what it says. Null: the peer has shown none.
  std::shared_ptr<const PeerCertificate> peer = {};
};

}  // namespace pgveil::tls
