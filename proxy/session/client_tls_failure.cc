#include "proxy/session/client_tls_failure.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

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
    case tls::Failure::rejected_by_peer: return Reason::client_rejected_certificate;
    case tls::Failure::internal_error: return Reason::internal_error;
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
      return "Add a current CRL of every authority in the client's chain to ssl_crl_file or ssl_crl_dir.";
    case tls::Failure::wrong_purpose:
      return "Have the certificate reissued for TLS clients (extendedKeyUsage clientAuth).";
    case tls::Failure::rejected_by_peer:
      return "The client does not trust ssl_cert_file: check its sslrootcert, and the name that it connects "
             "to.";
    case tls::Failure::no_common_version:
      return "Check ssl_min_protocol_version, ssl_max_protocol_version and post_quantum of the listener.";
    case tls::Failure::no_common_parameters:
      return "Check ssl_ciphers, ssl_tls13_ciphers, ssl_groups, ssl_signature_algorithms and post_quantum of "
             "the "
             "listener.";
    case tls::Failure::no_application_protocol:
      return "The client has to offer ALPN \"postgresql\"; direct TLS works with no other client.";
    default: return {};
  }
}

// The first bytes of other protocols. A startup packet never begins with these four bytes: as its length, they would
// be too large.
struct OtherProtocol {
  std::string_view first_bytes;
  std::string_view name;
};
constexpr std::string_view kHttp = "HTTP";
constexpr std::string_view kProxyProtocol =
    "the PROXY protocol, which is accepted once and only from proxy_protocol_from";
constexpr std::array kOtherProtocols{OtherProtocol{"GET ", kHttp},
                                     OtherProtocol{"POST", kHttp},
                                     OtherProtocol{"HEAD", kHttp},
                                     OtherProtocol{"PUT ", kHttp},
                                     OtherProtocol{"OPTI", kHttp},
                                     OtherProtocol{"CONN", kHttp},
                                     OtherProtocol{"PRI ", kHttp},
                                     OtherProtocol{"PROX", kProxyProtocol},
                                     OtherProtocol{"\r\n\r\n", kProxyProtocol},
                                     OtherProtocol{"SSH-", "SSH"}};

std::string_view other_protocol(protocol::ByteView first_bytes) {
  const std::string_view text(reinterpret_cast<const char*>(first_bytes.data()), first_bytes.size());
  const auto* found = std::find_if(kOtherProtocols.begin(), kOtherProtocols.end(),
                                   [&](const auto& other) { return text.starts_with(other.first_bytes); });
  return found == kOtherProtocols.end() ? "" : found->name;
}

Ending asked_for_encryption(Reason reason, std::string_view request, std::string_view setting) {
  return {.reason = reason,
          .detail = "The client left after its " + std::string(request) + " was declined, as a client with " +
                    std::string(setting) + " does."};
}

}  // namespace

Ending client_tls_ending(const tls::FailureReport& failure, const std::string& certificate) {
  Ending ending{.reason = reason_of(failure.failure), .hint = std::string(hint_of(failure.failure))};
  ending.detail = failure.detail.empty() ? failure.reason + '.' : failure.detail;
  if (failure.failure == tls::Failure::unexpected_eof)
    ending.detail = "The client closed the connection during the TLS handshake.";
  if (failure.failure == tls::Failure::rejected_by_peer)
    ending.detail = "The client's verdict is \"" + failure.reason + "\". " +
                    (failure.detail.empty() ? certificate : failure.detail);
  return ending;
}

Ending early_leave_ending(const EarlyLeave& leave) {
  using Declined = protocol::Negotiation::Declined;
  if (!leave.has_sent) return {.reason = Reason::no_startup, .detail = leave.error};
  if (leave.inside_packet && !leave.error.empty())
    return {.reason = Reason::client_lost, .detail = leave.error};
  const bool only_shook_hands =
      leave.inside_tls && !leave.inside_packet && leave.declined == Declined::nothing;
  if (only_shook_hands)
    return {
        .reason = Reason::left_after_handshake,
        .detail = "The client sent no StartupMessage, probably because it did not accept the certificate. " +
                  leave.certificate,
        .hint = "Check the client's sslmode and sslrootcert, and the name that it connects to."};
  if (!leave.inside_packet && !leave.inside_tls && leave.declined == Declined::tls)
    return asked_for_encryption(Reason::tls_not_offered, "SSLRequest", "sslmode=require");
  if (!leave.inside_packet && leave.declined == Declined::gss)
    return asked_for_encryption(Reason::gss_not_offered, "GSSENCRequest", "gssencmode=require");
  return {.reason = Reason::malformed_startup, .detail = "The client closed before its StartupMessage."};
}

Ending malformed_startup_ending(protocol::ByteView first_bytes, std::string message) {
  Ending ending{.reason = Reason::malformed_startup, .message = std::move(message)};
  const std::string_view name = other_protocol(first_bytes);
  if (!name.empty()) ending.detail = "The first bytes are those of " + std::string(name) + ".";
  return ending;
}

}  // namespace pgveil::proxy
