#include "proxy/client_failure.h"

#include <string_view>

namespace pgveil::proxy {
namespace {

Reason reason_of(tls::Failure failure) {
  switch (failure) {
    case tls::Failure::untrusted_issuer:
    case tls::Failure::expired:
    case tls::Failure::not_yet_valid:
    case tls::Failure::revoked:
    case tls::Failure::crl_unusable:
    case tls::Failure::wrong_purpose:
    case tls::Failure::weak:
    case tls::Failure::invalid_certificate: return Reason::client_certificate_invalid;
    default: return Reason::tls_failed;
  }
}

std::string_view hint_of(tls::Failure failure) {
  switch (failure) {
    case tls::Failure::untrusted_issuer:
      return "ssl_ca_file needs the authority that issued the client's certificate, and the client has to "
             "send its "
             "intermediate certificates.";
    case tls::Failure::expired:
      return "Have the client's certificate renewed, and check this machine's clock.";
    case tls::Failure::not_yet_valid: return "Check this machine's clock and the certificate's first day.";
    case tls::Failure::crl_unusable:
      return "ssl_crl_file and ssl_crl_dir need a current CRL of every authority in the client's chain.";
    case tls::Failure::wrong_purpose:
      return "Have the certificate reissued for TLS clients (extendedKeyUsage clientAuth).";
    case tls::Failure::rejected_by_peer:
      return "The client does not trust ssl_cert_file: check its sslrootcert, and the name that it connects "
             "to.";
    case tls::Failure::no_common_version:
      return "Check ssl_min_protocol_version and ssl_max_protocol_version of the listener.";
    case tls::Failure::no_common_parameters:
      return "Check ssl_ciphers, ssl_tls13_ciphers and ssl_groups of the listener.";
    case tls::Failure::no_application_protocol:
      return "The client has to offer ALPN \"postgresql\"; direct TLS works with no other client.";
    default: return {};
  }
}

}  // namespace

Ending client_tls_ending(const tls::FailureReport& failure) {
  Ending ending{.reason = reason_of(failure.failure), .hint = std::string(hint_of(failure.failure))};
  ending.detail = failure.detail.empty() ? failure.reason + '.' : failure.detail;
  if (failure.failure == tls::Failure::unexpected_eof)
    ending.detail = "The client closed the connection during the TLS handshake.";
  return ending;
}

}  // namespace pgveil::proxy
