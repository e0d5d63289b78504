#include "proxy/doctor/survey_steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <utility>

#include "proxy/doctor/chain_review.h"
#include "proxy/doctor/name_review.h"
#include "proxy/doctor/version_survey.h"

namespace pgveil::proxy {
namespace {

using Answer = protocol::UpstreamGreeting::Answer;

Step lookup_step(const NameLookup& lookup) {
  if (lookup.is_numeric)
    return {.name = "dns", .text = "not needed: the address is given", .duration = lookup.duration};
  if (lookup.addresses.empty())
    return {.name = "dns", .outcome = Outcome::failed, .text = lookup.error, .duration = lookup.duration};
  std::string text;
  for (const KernelAddress& address : lookup.addresses) text += (text.empty() ? "" : ", ") + host_of(address);
  return {.name = "dns", .outcome = Outcome::passed, .text = std::move(text), .duration = lookup.duration};
}

// A failed address is a fault only if no other one answers.
void add_attempts(const ServerSurvey& survey, std::vector<Step>& steps) {
  const bool is_connected = !survey.attempts.empty() && survey.attempts.back().error.empty();
  for (const ConnectionAttempt& attempt : survey.attempts) {
    const Outcome failed = is_connected ? Outcome::noted : Outcome::failed;
    const bool has_answered = attempt.error.empty();
    steps.push_back({.name = "tcp",
                     .outcome = has_answered ? Outcome::passed : failed,
                     .text = attempt.address.text() + (has_answered ? "" : ": " + attempt.error),
                     .duration = attempt.duration});
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

Step greeting_step(const GreetingReply& reply) {
  return {.name = "SSLRequest",
          .outcome = reply.answer == Answer::accepted ? Outcome::passed : Outcome::failed,
          .text = text_of(reply),
          .duration = reply.duration};
}

Step alpn_step(const tls::SurveyedServer& server, bool is_required) {
  if (!server.protocol.empty()) return {.name = "ALPN", .outcome = Outcome::passed, .text = server.protocol};
  return {.name = "ALPN",
          .outcome = is_required ? Outcome::failed : Outcome::noted,
          .text = "none: the server is older than PostgreSQL 17, or a proxy that does not know it"};
}

Step request_step(const tls::SurveyedServer& server) {
  constexpr const char* kName = "client cert";
  if (!server.requests_certificate)
    return {.name = kName, .text = "the server does not ask for a certificate"};
  if (server.authorities.empty())
    return {.name = kName, .text = "the server asks for a certificate, and names no authority"};
  return {.name = kName,
          .text = fmt::format("the server asks for a certificate of \"{}\"",
                              fmt::join(server.authorities, "\", \""))};
}

std::optional<Reason> fault_of(const tls::PeerCertificate& certificate, std::int64_t now) {
  if (now < certificate.not_before) return Reason::upstream_certificate_not_yet_valid;
  if (now > certificate.not_after) return Reason::upstream_certificate_expired;
  return std::nullopt;
}

Outcome outcome_of(const std::optional<Reason>& fault) {
  return fault ? Outcome::failed : Outcome::passed;
}

void add_certificates(const std::vector<tls::StoredCertificate>& chain, std::int64_t now,
                      std::vector<Step>& steps) {
  for (const auto& certificate : chain) {
    const auto fault = fault_of(certificate.values, now);
    steps.push_back({.name = "certificate",
                     .outcome = outcome_of(fault),
                     .text = summary_of(certificate, now),
                     .reason = fault});
  }
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
  steps.push_back(alpn_step(server, evidence.upstream.sslnegotiation == SslNegotiation::direct));
  steps.push_back(request_step(server));
  if (evidence.chain.empty()) return;
  add_certificates(evidence.chain, now, steps);
  steps.push_back(chain_step(evidence));
  steps.push_back(name_step(evidence));
}

}  // namespace

std::vector<Step> steps_of(const Evidence& evidence, std::int64_t now) {
  const ServerSurvey& survey = evidence.survey;
  std::vector<Step> steps{lookup_step(survey.lookup)};
  add_attempts(survey, steps);
  if (survey.greeting) steps.push_back(greeting_step(*survey.greeting));
  if (!survey.handshake) return steps;
  const auto& [server, error, duration] = *survey.handshake;
  if (!server) {
    steps.push_back({.name = "TLS", .outcome = Outcome::failed, .text = error, .duration = duration});
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
