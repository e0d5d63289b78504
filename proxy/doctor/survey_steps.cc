#include "proxy/doctor/survey_steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>

#include <string>
#include <utility>

#include "proxy/base/timed_socket.h"
#include "proxy/doctor/chain_review.h"
#include "proxy/doctor/name_review.h"
#include "proxy/doctor/own_files.h"
#include "proxy/doctor/version_survey.h"

namespace pgveil::proxy {
namespace {

using Answer = protocol::UpstreamGreeting::Answer;

// Returns for example "IPv4 192.0.2.7, 192.0.2.8", or "no IPv4 address".
std::string addresses_of(const NameLookup& lookup, int family, const char* name) {
  std::string text;
  for (const KernelAddress& address : lookup.addresses)
    if (address.family() == family) text += (text.empty() ? "" : ", ") + host_of(address);
  return text.empty() ? fmt::format("no {} address", name) : fmt::format("{} {}", name, text);
}

Step lookup_step(const NameLookup& lookup) {
  if (lookup.is_numeric)
    return {.name = "dns", .text = "not needed: the address is given", .duration = lookup.duration};
  if (lookup.addresses.empty())
    return {.name = "dns",
            .outcome = Outcome::failed,
            .text = lookup.error,
            .duration = lookup.duration,
            .reason = Reason::upstream_not_resolved};
  std::string text = addresses_of(lookup, AF_INET, "IPv4") + "; " + addresses_of(lookup, AF_INET6, "IPv6");
  return {.name = "dns", .outcome = Outcome::passed, .text = std::move(text), .duration = lookup.duration};
}

// The reason of a session that ends with this error before TLS.
Reason reason_of_error(const std::string& error) {
  return error == kNoAnswer ? Reason::upstream_timed_out : Reason::upstream_unreachable;
}

// A failed address is a fault only if no other one answers. As in a session, the last one decides about the reason.
void add_attempts(const ServerSurvey& survey, std::vector<Step>& steps) {
  const bool is_connected = survey.connected() != nullptr;
  std::optional<Reason> reason;
  if (!is_connected && !survey.attempts.empty()) reason = reason_of_error(survey.attempts.back().error);
  for (const ConnectionAttempt& attempt : survey.attempts) {
    const Outcome failed = is_connected ? Outcome::noted : Outcome::failed;
    const bool has_answered = attempt.error.empty();
    steps.push_back({.name = "tcp",
                     .outcome = has_answered ? Outcome::passed : failed,
                     .text = attempt.address.text() + (has_answered ? "" : ": " + attempt.error),
                     .duration = attempt.duration,
                     .reason = reason});
  }
}

std::string text_of(const GreetingReply& reply) {
  switch (reply.answer) {
    case Answer::more: return reply.error;
    case Answer::accepted: return "S: the server uses TLS";
    case Answer::refused: return "N: the server has no TLS";
    case Answer::error_response: return "E: an error instead of an answer";
    case Answer::early_bytes: return "more than one byte before the TLS handshake";
    case Answer::unexpected_byte: break;
  }
  if (reply.is_http) return "an HTTP server has answered";
  return fmt::format("byte 0x{:02x}: not a PostgreSQL server", reply.byte);
}

Reason fault_of(const GreetingReply& reply) {
  switch (reply.answer) {
    case Answer::more: return reason_of_error(reply.error);
    case Answer::refused: return Reason::upstream_refused_tls;
    default: return Reason::upstream_protocol_violation;
  }
}

Step greeting_step(const GreetingReply& reply) {
  Step step{
      .name = "SSLRequest", .outcome = Outcome::passed, .text = text_of(reply), .duration = reply.duration};
  if (reply.answer == Answer::accepted) return step;
  step.outcome = Outcome::failed;
  step.reason = fault_of(reply);
  return step;
}

Step responder_step(Responder responder) {
  const bool is_expected = responder == Responder::postgresql || responder == Responder::pgbouncer ||
                           responder == Responder::pgveil;
  return {.name = "server",
          .outcome = is_expected ? Outcome::passed : Outcome::noted,
          .text = std::string(describe(responder))};
}

Step gss_step(const GssReply& reply) {
  const auto text = [&]() -> std::string {
    switch (reply.byte) {
      case 'G': return "G: the server can encrypt with GSSAPI";
      case 'N': return "N: the server does not encrypt with GSSAPI";
      case 'E': return "E: an error, as of a server that does not know the request (before PostgreSQL 12)";
      case 0: return "not known: " + reply.error;
      default:
        return fmt::format("byte 0x{:02x}: not a PostgreSQL server", static_cast<unsigned char>(reply.byte));
    }
  };
  return {.name = "GSSENC", .text = text(), .duration = reply.duration};
}

Step direct_step(const HandshakeResult& direct) {
  constexpr const char* kName = "direct TLS";
  if (!direct.server)
    return {.name = kName,
            .text = "not accepted (sslnegotiation=direct came with PostgreSQL 17): " + direct.error,
            .duration = direct.duration};
  if (direct.server->chose_unknown_protocol)
    return {.name = kName,
            .text = "accepted with an ALPN protocol that was not offered, so clients refuse this server",
            .duration = direct.duration};
  if (direct.server->protocol.empty())
    return {.name = kName,
            .text = "accepted without ALPN, so clients with sslnegotiation=direct refuse this server",
            .duration = direct.duration};
  return {.name = kName,
          .outcome = Outcome::passed,
          .text = "accepted, ALPN " + direct.server->protocol,
          .duration = direct.duration};
}

Step tickets_step(unsigned tickets) {
  return {.name = "tickets",
          .text = tickets == 0 ? "none: the server does not resume sessions"
                               : fmt::format("{} session ticket{}: the server can resume sessions", tickets,
                                             tickets == 1 ? "" : "s")};
}

Step alpn_step(const tls::SurveyedServer& server, bool is_required) {
  if (!server.protocol.empty()) return {.name = "ALPN", .outcome = Outcome::passed, .text = server.protocol};
  Step step{.name = "ALPN",
            .text = server.chose_unknown_protocol
                        ? "the server has chosen a protocol that was not offered"
                        : "none: the server is older than PostgreSQL 17, or a proxy that does not know it"};
  if (!is_required && !server.chose_unknown_protocol) return step;
  step.outcome = Outcome::failed;
  step.reason = Reason::upstream_tls_failed;
  return step;
}

Step request_step(const tls::SurveyedServer& server) {
  constexpr const char* kName = "client cert";
  if (!server.requests_certificate)
    return {.name = kName, .text = "the server does not ask for a certificate"};
  std::string text = server.authorities.empty() ? "the server asks for a certificate, and names no authority"
                                                : fmt::format("the server asks for a certificate of \"{}\"",
                                                              fmt::join(server.authorities, "\", \""));
  if (server.requires_certificate) text += "; it ends the handshake if none is sent";
  return {.name = kName, .text = std::move(text)};
}

std::optional<Reason> fault_of(const tls::PeerCertificate& certificate, std::int64_t now) {
  if (now < certificate.not_before) return Reason::upstream_certificate_not_yet_valid;
  if (now > certificate.not_after) return Reason::upstream_certificate_expired;
  return std::nullopt;
}

Outcome outcome_of(const std::optional<Reason>& fault) {
  return fault ? Outcome::failed : Outcome::passed;
}

// Whether the chain is refused for the period of this certificate, or would be. The first one is always needed; others may be
// extra.
bool is_refused_for_period(const Evidence& evidence, std::size_t place) {
  const auto& certificate = evidence.chain[place];
  if (place == 0) return evidence.refusal.has_value();
  return is_refused_for(evidence, tls::Failure::expired, certificate) ||
         is_refused_for(evidence, tls::Failure::not_yet_valid, certificate);
}

Step certificate_step(const Evidence& evidence, std::size_t place, std::int64_t now) {
  const auto& certificate = evidence.chain[place];
  Step step{.name = "certificate", .outcome = Outcome::passed, .text = summary_of(certificate, now)};
  const auto fault = fault_of(certificate.values, now);
  if (!fault) return step;
  step.outcome = Outcome::noted;
  if (!is_refused_for_period(evidence, place)) return step;
  step.outcome = Outcome::failed;
  step.reason = fault;
  step.certificate = place;
  return step;
}

Step chain_step(const Evidence& evidence) {
  const ChainReview review = review_chain(evidence.chain);
  Step step{.name = "chain", .outcome = Outcome::passed, .text = summary_of(review, evidence.chain.size())};
  if (!review.is_in_order) step.outcome = Outcome::noted;
  if (evidence.refusal && evidence.refusal->failure == tls::Failure::untrusted_issuer) {
    step.outcome = Outcome::failed;
    step.reason = Reason::upstream_certificate_untrusted;
  }
  return step;
}

Step system_step(bool is_trusted) {
  return {.name = "system",
          .text = is_trusted ? "the authorities of the system trust this chain: sslrootcert=system would do"
                             : "the authorities of the system do not trust this chain either"};
}

Step name_step(const Evidence& evidence) {
  const std::string& host = evidence.upstream.hosts.front().host;
  const auto& names = evidence.chain.front().values.names;
  const auto rule = evidence.upstream.tls.certificate_common_name;
  const NameReview review = review_names(host, names, rule);
  std::optional<Reason> fault;
  if (!review.matches) fault = Reason::upstream_certificate_wrong_name;
  return {.name = "name",
          .outcome = outcome_of(fault),
          .text = summary_of(review, host, names, rule),
          .reason = fault};
}

void add_handshake(const tls::SurveyedServer& server, const Evidence& evidence, std::int64_t now,
                   std::vector<Step>& steps) {
  steps.push_back(versions_step(evidence.survey.versions));
  steps.push_back(
      ciphers_step(evidence.survey.broken_ciphers, evidence.survey.ciphers_without_forward_secrecy));
  steps.push_back(tickets_step(server.tickets));
  steps.push_back(alpn_step(server, evidence.upstream.sslnegotiation == SslNegotiation::direct));
  steps.push_back(request_step(server));
  if (evidence.chain.empty()) return;
  for (std::size_t i = 0; i < evidence.chain.size(); ++i) steps.push_back(certificate_step(evidence, i, now));
  steps.push_back(chain_step(evidence));
  if (evidence.is_trusted_by_system) steps.push_back(system_step(*evidence.is_trusted_by_system));
  steps.push_back(name_step(evidence));
  for (Step& step : review_crls(crls_of(evidence.upstream.tls), evidence, now))
    steps.push_back(std::move(step));
}

}  // namespace

std::vector<Step> steps_of(const Evidence& evidence, std::int64_t now) {
  const ServerSurvey& survey = evidence.survey;
  std::vector<Step> steps{lookup_step(survey.lookup)};
  for (Step& step : review_own_certificate(evidence, now)) steps.push_back(std::move(step));
  add_attempts(survey, steps);
  if (survey.greeting) steps.push_back(greeting_step(*survey.greeting));
  if (survey.responder) steps.push_back(responder_step(*survey.responder));
  if (survey.gss) steps.push_back(gss_step(*survey.gss));
  if (survey.direct) steps.push_back(direct_step(*survey.direct));
  if (!survey.handshake) return steps;
  const auto& server = survey.handshake->server;
  const StepDuration duration = survey.handshake->duration;
  if (!server) {
    steps.push_back({.name = "TLS",
                     .outcome = Outcome::failed,
                     .text = survey.handshake->error,
                     .duration = duration,
                     .reason = survey.handshake->error == kNoAnswer ? Reason::upstream_timed_out
                                                                    : Reason::upstream_tls_failed});
    return steps;
  }
  const tls::Established& agreed = server->agreed;
  steps.push_back({.name = "TLS",
                   .outcome = Outcome::passed,
                   .text = fmt::format("{}, {}, group {}", agreed.version, agreed.cipher, agreed.group),
                   .duration = duration});
  add_handshake(*server, evidence, now, steps);
  return steps;
}

}  // namespace pgveil::proxy
