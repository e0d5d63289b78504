#include "proxy/doctor/finding.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/doctor/chain_review.h"
#include "proxy/doctor/name_review.h"

namespace pgveil::proxy {
namespace {

using Answer = protocol::UpstreamGreeting::Answer;

struct Remedy {
  Side side;
  std::string text;
};

bool is_connected(const ServerSurvey& survey) {
  return survey.connected() != nullptr;
}

// Returns the remedy if what answers was recognized as an HTTP server or as another TLS server than one that expects SSLRequest.
std::optional<Remedy> for_responder(const Evidence& evidence) {
  switch (evidence.survey.responder.value_or(Responder::unknown)) {
    case Responder::http:
      return Remedy{own_side(evidence),
                    "Use the host and port of PostgreSQL, and not those of an HTTP server."};
    case Responder::https:
      return Remedy{own_side(evidence),
                    "Use the host and port of PostgreSQL, and not those of an HTTPS server."};
    case Responder::direct_tls:
      return Remedy{own_side(evidence),
                    "Set sslnegotiation to direct: the server expects TLS without SSLRequest."};
    case Responder::tls:
      return Remedy{
          own_side(evidence),
          "Use the host and port of PostgreSQL; or set sslnegotiation to direct if a proxy with direct TLS "
          "is expected here, and let it agree on ALPN postgresql (HAProxy: bind ... ssl alpn postgresql)."};
    default: return std::nullopt;
  }
}

std::string sentence(std::string_view message) {
  std::string text(message);
  if (!text.empty()) text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text + '.';
}

std::string cause_of(const Ending& ending, const Evidence& evidence) {
  const std::size_t addresses = evidence.survey.attempts.size();
  const UpstreamHost& host = evidence.upstream.hosts.front();
  // The detail has a sentence for each address.
  if (addresses > 1 && ending.reason == Reason::upstream_unreachable)
    return fmt::format("None of the {} addresses of \"{}\" accepts connections on port {}.", addresses,
                       host.host, host.port);
  if (addresses > 1 && ending.reason == Reason::upstream_timed_out)
    return fmt::format("None of the {} addresses of \"{}\" answered in time on port {}.", addresses,
                       host.host, host.port);
  return ending.detail.empty() ? sentence(describe(ending.reason).message) : ending.detail;
}

Remedy for_unreachable(const Evidence& evidence) {
  const auto is_refused = [](const ConnectionAttempt& attempt) {
    return attempt.error == "Connection refused";
  };
  if (auto remedy = for_responder(evidence)) return *std::move(remedy);
  if (is_connected(evidence.survey))
    return {Side::server,
            "Check that a PostgreSQL server, and not a load balancer without servers, listens on this port."};
  if (evidence.upstream.hosts.front().is_unix())
    return {Side::server,
            "Start PostgreSQL there, and set unix_socket_directories and port in its postgresql.conf to this "
            "path."};
  if (std::ranges::any_of(evidence.survey.attempts, is_refused))
    return {Side::server,
            "Start PostgreSQL there, and set listen_addresses and port in its postgresql.conf so that it "
            "listens on this address."};
  return {Side::network,
          "Allow the connection in the routes and firewalls between this machine and the server."};
}

Remedy for_silence(const Evidence& evidence) {
  if (auto remedy = for_responder(evidence)) return *std::move(remedy);
  if (is_connected(evidence.survey))
    return {
        Side::server,
        "Check that a PostgreSQL server, and not another service, listens on this port, and that it is not "
        "overloaded."};
  return {
      Side::network,
      fmt::format("Allow TCP connections to port {} in the firewalls between this machine and the server.",
                  evidence.upstream.hosts.front().port)};
}

Remedy for_wrong_answer(const Evidence& evidence) {
  const auto& greeting = evidence.survey.greeting;
  if (auto remedy = for_responder(evidence)) return *std::move(remedy);
  if (greeting && greeting->is_http)
    return {own_side(evidence), "Use the host and port of PostgreSQL, and not those of an HTTP server."};
  if (greeting && greeting->answer == Answer::error_response)
    return {Side::server, "Read the server's log: it may have reached max_connections."};
  return {Side::network,
          "Check that a PostgreSQL server listens on this port, and that nothing intercepts the connection."};
}

Remedy for_untrusted(const Evidence& evidence) {
  const Side side = own_side(evidence);
  if (evidence.chain.empty())
    return {side, "Set sslrootcert to the certificate of the authority that issued the server's."};
  const auto& leaf = evidence.chain.front();
  if (leaf.is_self_signed)
    return {
        side,
        fmt::format("Set sslrootcert to the server's own certificate{}, after you have compared its SHA-256 "
                    "fingerprint {} with that of the server's ssl_cert_file.",
                    evidence.upstream.name.empty() ? " (--save-chain saves it)" : "",
                    leaf.values.sha256_fingerprint)};
  const ChainReview review = review_chain(evidence.chain);
  if (review.missing_issuer.empty())
    return {side, fmt::format("Add the certificate of \"{}\" to the file of sslrootcert, if you trust this "
                              "authority.",
                              evidence.chain.back().values.subject)};
  const std::string from = review.issuer_url.empty() ? "" : fmt::format(" (from {})", review.issuer_url);
  return {
      Side::server,
      fmt::format("Append the certificate of \"{}\"{} to the server's ssl_cert_file if it is an intermediate "
                  "authority, or set sslrootcert to it if it is a root that you trust.",
                  review.missing_issuer, from)};
}

// Whether the certificate that is refused with `failure` is that of an authority.
bool is_of_authority(const Evidence& evidence, tls::Failure failure) {
  return evidence.refusal && evidence.refusal->failure == failure && evidence.refusal->depth > 0;
}

Remedy for_revoked(const Evidence& evidence) {
  if (is_of_authority(evidence, tls::Failure::revoked))
    return {Side::authority,
            fmt::format(
                "Have the server's certificate reissued by another authority than \"{}\", which is revoked, "
                "and put it and its chain into ssl_cert_file.",
                evidence.refusal->subject)};
  return {Side::authority,
          "Have the server's certificate reissued with a new key, and put both into ssl_cert_file and "
          "ssl_key_file."};
}

Remedy for_expired(const Evidence& evidence) {
  if (is_of_authority(evidence, tls::Failure::expired))
    return {Side::authority,
            fmt::format("Replace the certificate of the authority \"{}\" with a renewed one in the server's "
                        "ssl_cert_file and in sslrootcert.",
                        evidence.refusal->subject)};
  return {
      Side::server,
      "Put a renewed certificate into the server's ssl_cert_file and run SELECT pg_reload_conf(), if this "
      "machine's clock is right."};
}

Remedy for_wrong_name(const Evidence& evidence) {
  const UpstreamHost& host = evidence.upstream.hosts.front();
  if (evidence.chain.empty())
    return {own_side(evidence), "Set host to a name in the certificate, and hostaddr to the address."};
  const NameReview review = review_names(host.host, evidence.chain.front().values.names,
                                         evidence.upstream.tls.certificate_common_name);
  if (review.nearest.empty())
    return {Side::server, fmt::format("Have the certificate reissued with subjectAltName {}:{}.",
                                      review.host_is_address ? "IP" : "DNS", host.host)};
  if (is_connected(evidence.survey))
    return {own_side(evidence),
            fmt::format("Set host to \"{}\" and hostaddr to {}, or have the certificate "
                        "reissued with the name \"{}\".",
                        review.nearest, host_of(evidence.survey.connected()->address), host.host)};
  return {own_side(evidence), fmt::format("Set host to \"{}\".", review.nearest)};
}

// What follows "Put a current CRL of each authority in the chain into". One of the settings, or both, are set.
std::string rest_of_crl_remedy(const tls::ClientSettings& settings) {
  if (settings.sslcrldir.empty()) return "the file of sslcrl, or leave out sslcrl.";
  if (settings.sslcrl.empty())
    return "the directory of sslcrldir and run openssl rehash on it, or leave out sslcrldir.";
  return "the file of sslcrl, or into the directory of sslcrldir and run openssl rehash on it; or leave out both.";
}

Remedy for_failed_handshake(const Ending& ending, const Evidence& evidence) {
  const auto& handshake = evidence.survey.handshake;
  const bool is_direct = evidence.upstream.sslnegotiation == SslNegotiation::direct;
  if (is_direct && handshake && !handshake->server)
    return {own_side(evidence),
            "Set sslnegotiation to postgres, unless the server is PostgreSQL 17 or newer and has TLS."};
  return {Side::server, ending.hint};
}

Remedy remedy_of(const Ending& ending, const Evidence& evidence) {
  switch (ending.reason) {
    case Reason::upstream_not_resolved:
      return {Side::network, "Correct the host name, or add it to the DNS or to /etc/hosts of this machine."};
    case Reason::upstream_unreachable: return for_unreachable(evidence);
    case Reason::upstream_timed_out: return for_silence(evidence);
    case Reason::upstream_refused_tls:
      return {
          Side::server,
          "Set ssl = on with ssl_cert_file and ssl_key_file in the server's postgresql.conf, and run SELECT "
          "pg_reload_conf()."};
    case Reason::upstream_protocol_violation: return for_wrong_answer(evidence);
    case Reason::upstream_certificate_untrusted: return for_untrusted(evidence);
    case Reason::upstream_certificate_expired: return for_expired(evidence);
    case Reason::upstream_certificate_not_yet_valid:
      return {own_side(evidence), "Set this machine's clock, or wait until the certificate is valid."};
    case Reason::upstream_certificate_wrong_name: return for_wrong_name(evidence);
    case Reason::upstream_certificate_revoked: return for_revoked(evidence);
    case Reason::upstream_crl_unusable:
      return {own_side(evidence), "Put a current CRL of each authority in the chain into " +
                                      rest_of_crl_remedy(evidence.upstream.tls)};
    case Reason::upstream_tls_failed: return for_failed_handshake(ending, evidence);
    case Reason::upstream_certificate_invalid: return {Side::server, ending.hint};
    default: return {own_side(evidence), ending.hint};
  }
}

std::optional<tls::Failure> failure_of(Reason reason) {
  switch (reason) {
    case Reason::upstream_certificate_expired: return tls::Failure::expired;
    case Reason::upstream_certificate_not_yet_valid: return tls::Failure::not_yet_valid;
    case Reason::upstream_certificate_revoked: return tls::Failure::revoked;
    case Reason::upstream_crl_unusable: return tls::Failure::crl_unusable;
    default: return std::nullopt;
  }
}

// Returns the refusal that the fault of this step alone would cause.
std::optional<tls::FailureReport> refusal_of(const Step& step, const Evidence& evidence) {
  const auto failure = failure_of(*step.reason);
  if (!failure || !step.certificate) return evidence.refusal;
  const auto& values = evidence.chain[*step.certificate].values;
  return tls::FailureReport{.failure = *failure,
                            .reason = {},
                            .depth = static_cast<int>(*step.certificate),
                            .subject = values.subject,
                            .issuer = values.issuer,
                            .detail = {}};
}

// Whether the finding of the verdict is about the fault of this step.
bool is_explained_by(const std::optional<Reason>& verdict, const Step& step, const Evidence& evidence) {
  if (step.reason != verdict) return false;
  const auto failure = failure_of(*step.reason);
  return !step.certificate || !failure ||
         is_refused_for(evidence, *failure, evidence.chain[*step.certificate]);
}

}  // namespace

Finding finding_of(const Ending& ending, const Evidence& evidence) {
  Remedy remedy = remedy_of(ending, evidence);
  if (remedy.text.empty())
    remedy.text = fmt::format("See {} in docs/reasons.md.", describe(ending.reason).name);
  return {.side = remedy.side, .cause = cause_of(ending, evidence), .remedy = std::move(remedy.text)};
}

bool is_refused_for(const Evidence& evidence, tls::Failure failure,
                    const tls::StoredCertificate& certificate) {
  return evidence.refusal && evidence.refusal->failure == failure &&
         evidence.refusal->subject == certificate.values.subject &&
         evidence.refusal->issuer == certificate.values.issuer;
}

void explain_faults(std::vector<Step>& steps, const std::optional<Reason>& verdict,
                    const Evidence& evidence) {
  for (Step& step : steps) {
    if (!step.reason || is_explained_by(verdict, step, evidence)) continue;
    const auto refusal = refusal_of(step, evidence);
    const Evidence own{evidence.upstream, evidence.survey, evidence.chain, refusal,
                       evidence.is_trusted_by_system};
    step.finding = finding_of({.reason = *step.reason}, own);
    step.finding->cause = sentence(step.text);
  }
}

}  // namespace pgveil::proxy
