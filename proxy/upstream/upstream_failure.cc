#include "proxy/upstream/upstream_failure.h"

#include <fmt/format.h>

#include <string_view>

namespace pgveil::proxy {
namespace {

Reason reason_of(tls::Failure failure) {
  switch (failure) {
    case tls::Failure::untrusted_issuer: return Reason::upstream_certificate_untrusted;
    case tls::Failure::expired: return Reason::upstream_certificate_expired;
    case tls::Failure::not_yet_valid: return Reason::upstream_certificate_not_yet_valid;
    case tls::Failure::revoked: return Reason::upstream_certificate_revoked;
    case tls::Failure::crl_unusable: return Reason::upstream_crl_unusable;
    case tls::Failure::wrong_name: return Reason::upstream_certificate_wrong_name;
    case tls::Failure::wrong_purpose:
    case tls::Failure::weak:
    case tls::Failure::invalid_certificate:
    case tls::Failure::no_certificate: return Reason::upstream_certificate_invalid;
    case tls::Failure::rejected_by_peer: return Reason::upstream_rejected_certificate;
    case tls::Failure::no_common_version:
    case tls::Failure::no_common_parameters:
    case tls::Failure::no_application_protocol:
    case tls::Failure::alert:
    case tls::Failure::unexpected_eof:
    case tls::Failure::not_tls:
    case tls::Failure::protocol_error: return Reason::upstream_tls_failed;
    case tls::Failure::internal_error: return Reason::internal_error;
  }
  return Reason::upstream_tls_failed;
}

std::string_view hint_of(tls::Failure failure) {
  switch (failure) {
    case tls::Failure::untrusted_issuer:
      return "Set sslrootcert to the certificate of the authority that issued the server's, and have the "
             "server send "
             "its intermediate certificates.";
    case tls::Failure::expired:
      return "Have the server's certificate renewed, and check this machine's clock.";
    case tls::Failure::not_yet_valid: return "Check this machine's clock and the certificate's first day.";
    case tls::Failure::revoked:
      return "Have the server's certificate reissued. Do not trust this server until then.";
    case tls::Failure::crl_unusable:
      return "Add a current CRL of every authority in the server's chain to sslcrl or sslcrldir.";
    case tls::Failure::wrong_name:
      return "Set host to a name in the certificate (and hostaddr to the address), or have it reissued with "
             "the name "
             "that is asked.";
    case tls::Failure::wrong_purpose:
      return "Have the certificate reissued for TLS servers (extendedKeyUsage serverAuth).";
    case tls::Failure::weak: return "Have the certificate reissued with a stronger key and signature.";
    case tls::Failure::rejected_by_peer:
      return "Check sslcert and sslkey of the upstream, and what the server's ssl_ca_file and pg_hba.conf "
             "ask for.";
    case tls::Failure::no_common_version:
      return "Check ssl_min_protocol_version and ssl_max_protocol_version here and on the server, and "
             "post_quantum of the upstream.";
    case tls::Failure::no_common_parameters:
      return "Check ssl_ciphers, ssl_tls13_ciphers, ssl_groups, ssl_signature_algorithms and post_quantum of "
             "the upstream, and what the server's settings and certificate allow.";
    case tls::Failure::no_application_protocol:
      return "sslnegotiation = \"direct\" needs a server of PostgreSQL 17 or newer; use \"postgres\" for "
             "older ones.";
    default: return "Check that a PostgreSQL server, and nothing in its place, listens on this address.";
  }
}

std::string name_and_address(const ServerAddress& server) {
  const std::string& host = server.host.host;
  return fmt::format("The server at \"{}\" ({})", host, server.address.text());
}

}  // namespace

Ending refused_greeting(const ServerAddress& server, protocol::UpstreamGreeting::Answer answer,
                        std::uint8_t byte) {
  using Answer = protocol::UpstreamGreeting::Answer;
  const std::string who = name_and_address(server);
  switch (answer) {
    case Answer::refused:
      return {
          .reason = Reason::upstream_refused_tls,
          .detail = who + " answered that it does not support TLS.",
          .hint = "Turn on ssl in the server's postgresql.conf. There is no setting to go on without TLS."};
    case Answer::error_response:
      return {.reason = Reason::upstream_protocol_violation,
              .detail = who +
                        " answered the request for TLS with an error, whose text is not shown because the "
                        "server was not verified.",
              .hint = "Look into the server's log: it may be out of connections or memory."};
    case Answer::early_bytes:
      return {.reason = Reason::upstream_protocol_violation,
              .detail = who + " sent unencrypted bytes after its answer to the request for TLS.",
              .hint = "This can be a defect of the server, or an attempt to get in between."};
    default:
      return {.reason = Reason::upstream_protocol_violation,
              .detail = fmt::format("{} answered the request for TLS with byte 0x{:02x}.", who, byte),
              .hint = "Check that a PostgreSQL server listens on this address."};
  }
}

Ending wrong_peer(const ServerAddress& server, const std::string& required, const std::string& user) {
  return {.reason = Reason::upstream_wrong_peer,
          .detail = fmt::format("requirepeer is \"{}\", but the server on {} runs as {}.", required,
                                server.address.text(), user.empty() ? "an unknown user" : '"' + user + '"'),
          .hint = "Check who listens on this socket, or correct requirepeer."};
}

Ending no_role_certificate(const UpstreamConfig& upstream, const std::string& role) {
  return {.reason = Reason::role_certificate_missing,
          .detail = fmt::format("There is no {}.crt in \"{}\".", role, upstream.role_certificates),
          .hint = "Put the role's certificate and key there, and reload pgveil."};
}

Ending tls_ending(const ServerAddress& server, const tls::FailureReport& failure) {
  Ending ending{.reason = reason_of(failure.failure)};
  ending.detail = failure.detail.empty() ? fmt::format("{}: {}.", name_and_address(server), failure.reason)
                                         : failure.detail;
  if (failure.failure == tls::Failure::unexpected_eof)
    ending.detail = name_and_address(server) + " closed the connection during the TLS handshake.";
  ending.hint = hint_of(failure.failure);
  return ending;
}

}  // namespace pgveil::proxy
