#include "proxy/doctor/examination.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "protocol/proxy_header.h"
#include "proxy/doctor/finding.h"
#include "proxy/doctor/further_probes.h"
#include "proxy/doctor/login_steps.h"
#include "proxy/doctor/server_facts.h"
#include "proxy/doctor/server_survey.h"
#include "proxy/doctor/session_attempt.h"
#include "proxy/doctor/sslmode_forecast.h"
#include "proxy/doctor/survey_steps.h"
#include "proxy/doctor/trial_login.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

// What all addresses of a host together get beside connect_timeout, so that the timeout of each address comes first.
constexpr milliseconds kMargin{1'000};
// The budget of an address if connect_timeout is 0: a session has startup_timeout, 15 seconds by default.
constexpr milliseconds kUnlimited{15'000};

// The connection is pgveil's own, and has no client.
protocol::Bytes first_bytes_of(const UpstreamConfig& upstream) {
  protocol::Bytes header;
  if (upstream.send_proxy_protocol) protocol::encode_proxy_header({}, std::nullopt, header);
  return header;
}

milliseconds budget_of(const UpstreamConfig& upstream, std::size_t addresses) {
  const milliseconds each = upstream.connect_timeout.count() == 0 ? kUnlimited : upstream.connect_timeout;
  return each * static_cast<int>(std::max<std::size_t>(addresses, 1)) + kMargin;
}

const tls::SurveyedServer* surveyed_server(const ServerSurvey& survey) {
  return survey.handshake && survey.handshake->server ? &*survey.handshake->server : nullptr;
}

std::string established_text(const tls::Established* tls) {
  if (tls == nullptr) return "a session can connect, without TLS";
  return fmt::format("a session verifies this server: {}, {}, group {}", tls->version, tls->cipher,
                     tls->group);
}

// The step for what a session does with this server.
Step verdict_step(const SessionAttempt& attempt, const Evidence& evidence) {
  Step step{.name = "verdict",
            .outcome = Outcome::passed,
            .text = established_text(attempt.tls.get()),
            .duration = attempt.duration};
  if (!attempt.failure) return step;
  const ReasonInfo& reason = describe(attempt.failure->reason);
  step.outcome = Outcome::failed;
  step.text = fmt::format("{} (reason {})", reason.message, reason.name);
  step.finding = finding_of(*attempt.failure, evidence);
  return step;
}

Verdict verdict_of(const SessionAttempt& attempt) {
  if (!attempt.failure) return {.reason = std::nullopt, .message = established_text(attempt.tls.get())};
  return {.reason = attempt.failure->reason,
          .message = std::string(describe(attempt.failure->reason).message)};
}

struct Surveyed {
  ServerSurvey survey;
  std::vector<tls::StoredCertificate> chain;
  std::optional<tls::FailureReport> refusal;
};

// Surveys a server, and verifies the chain that it has sent. A Unix socket has neither.
Surveyed survey(const Upstream& upstream, const protocol::Bytes& first_bytes) {
  Surveyed found;
  const UpstreamHost& host = upstream.config.hosts.front();
  if (host.is_unix()) return found;
  found.survey = survey_server(upstream.config, first_bytes);
  const auto* server = surveyed_server(found.survey);
  if (server == nullptr || server->chain.empty()) return found;
  found.chain = tls::stored_certificates(server->chain);
  if (upstream.tls) found.refusal = upstream.tls->verify(server->chain, host.host);
  return found;
}

// Asked only if the chain is refused for its issuer, and if other authorities than the system's were asked before.
std::optional<bool> trusted_by_system(const UpstreamConfig& config, const Surveyed& found) {
  const bool is_untrusted = found.refusal && found.refusal->failure == tls::Failure::untrusted_issuer;
  if (!is_untrusted || config.tls.sslrootcert == tls::kSystemTrust) return std::nullopt;
  tls::ClientSettings settings;
  settings.sslrootcert = tls::kSystemTrust;
  const auto context = tls::ClientContext::build(settings);
  if (!context) return std::nullopt;
  const auto refusal = (*context)->verify(surveyed_server(found.survey)->chain, config.hosts.front().host);
  return !refusal || refusal->failure == tls::Failure::wrong_name;
}

// What the server says of itself after a login.
void examine_session(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
                     const LoginRequest& login, milliseconds time, ServerReport& report) {
  TrialLogin session(upstream, first_bytes, login, time);
  const auto failure = session.log_in();
  report.steps.push_back(session_step(failure, session.method(), login, session.duration()));
  if (failure) return;
  const ServerFacts facts = ask_for_facts(session);
  for (Step& step : steps_of(facts, *session.tls(), report.responder))
    report.steps.push_back(std::move(step));
  report.session = SessionReport{.method = std::string(session.method()), .server_version = facts.version};
  session.close();
}

// What the server does at the beginning of a login, and after it, if it can be completed. Without TLS only if `connected`, the
// address that has answered the survey, is not null.
LoginReplies examine_login(const std::shared_ptr<const Upstream>& upstream,
                           const protocol::Bytes& first_bytes, const ConnectionAttempt* connected,
                           const LoginRequest& login, ServerReport& report) {
  const milliseconds time = budget_of(upstream->config, 1);
  LoginReplies replies;
  const LoginReply& reply =
      replies.over_tls.emplace(ask_verified(upstream, first_bytes, login, protocol::kProtocol30, time));
  report.steps.push_back(login_step(reply, login));
  report.steps.push_back(
      protocol_step(reply, ask_verified(upstream, first_bytes, login, protocol::kProtocol32, time)));
  if (connected != nullptr)
    replies.in_plaintext = ask_in_plaintext(connected->address, first_bytes, login, time);
  report.steps.push_back(plaintext_step(replies.in_plaintext, login, report.responder));
  const bool needs_password = reply.asked != protocol::AuthenticationCode::ok;
  if (reply.asked && (login.password || !needs_password))
    examine_session(upstream, first_bytes, login, time, report);
  else
    report.steps.push_back(no_session_step(reply, login));
  return replies;
}

bool is_about_the_connection(Reason reason) {
  switch (reason) {
    case Reason::upstream_not_resolved:
    case Reason::upstream_unreachable:
    case Reason::upstream_timed_out:
    case Reason::upstream_refused_tls:
    case Reason::upstream_protocol_violation:
    case Reason::upstream_tls_failed: return true;
    default: return false;
  }
}

// If the connection of a session is good, a fault of an earlier connection has passed: nothing is to be changed.
void note_passing_faults(std::vector<Step>& steps) {
  for (Step& step : steps) {
    if (step.outcome != Outcome::failed || !step.reason || !is_about_the_connection(*step.reason)) continue;
    step.outcome = Outcome::noted;
    step.reason.reset();
    step.text += "; the connection of a session, made later, had no such fault";
  }
}

// The results of the survey as data.
void describe_survey(const ServerSurvey& survey, ServerReport& report) {
  for (const auto& attempt : survey.attempts)
    report.addresses.push_back({.address = attempt.address.text(),
                                .is_ipv6 = attempt.address.family() == AF_INET6,
                                .error = attempt.error});
  report.responder = survey.responder;
  const auto* server = surveyed_server(survey);
  if (server == nullptr) return;
  TlsReport& tls = report.tls.emplace();
  tls = {.version = server->agreed.version,
         .cipher = server->agreed.cipher,
         .group = server->agreed.group,
         .alpn = server->protocol,
         .versions = {},
         .broken_ciphers = survey.broken_ciphers.names,
         .ciphers_without_forward_secrecy = survey.ciphers_without_forward_secrecy.names,
         .tickets = server->tickets,
         .is_complete = survey.versions.error.empty() && survey.broken_ciphers.error.empty() &&
                        survey.ciphers_without_forward_secrecy.error.empty()};
  for (const tls::Version version : survey.versions.accepted)
    tls.versions.emplace_back(tls::name_of(version));
}

// Whether our certificate was sent, and what the server has done with it.
std::optional<Step> own_certificate_step(const SessionAttempt& attempt) {
  if (!attempt.tls || attempt.tls->own_sha256_fingerprint.empty()) return std::nullopt;
  return Step{
      .name = "accepted", .outcome = Outcome::passed, .text = "our certificate was sent, and not rejected"};
}

}  // namespace

ServerReport examine(const std::shared_ptr<const Upstream>& upstream, const LoginRequest& login,
                     const std::vector<std::string>& asked_sslmodes, std::int64_t now) {
  const UpstreamConfig& config = upstream->config;
  // Nothing is known of the TLS of a server that is reached without it.
  const bool has_tls = !config.hosts.front().is_unix() && config.sslmode != SslMode::disable;
  const std::vector<std::string> sslmodes = has_tls ? asked_sslmodes : std::vector<std::string>();
  const protocol::Bytes first_bytes = first_bytes_of(config);
  Surveyed found = survey(*upstream, first_bytes);
  const Evidence evidence{config, found.survey, found.chain, found.refusal, trusted_by_system(config, found)};
  const auto* server = surveyed_server(found.survey);
  const SessionAttempt attempt =
      attempt_session(upstream, first_bytes, budget_of(config, found.survey.lookup.addresses.size()),
                      found.survey.handshake ? found.survey.handshake->duration : StepDuration(0),
                      server == nullptr || server->requests_certificate);
  add_further_probes(config, first_bytes, found.survey);
  ServerReport report{.upstream = config.name,
                      .server = {},
                      .steps = {},
                      .chain = found.chain,
                      .verdict = verdict_of(attempt)};
  describe_survey(found.survey, report);
  if (!config.hosts.front().is_unix()) report.steps = steps_of(evidence, now);
  if (!report.verdict.reason) note_passing_faults(report.steps);
  explain_faults(report.steps, report.verdict.reason, evidence);
  report.steps.push_back(verdict_step(attempt, evidence));
  if (attempt.failure == std::nullopt)
    if (auto step = own_certificate_step(attempt)) report.steps.push_back(*std::move(step));
  if (!attempt.tls && !attempt.failure && !login.user.empty()) report.steps.push_back(no_login_step());
  const ConnectionAttempt* connected = found.survey.connected();
  LoginReplies replies;
  if (!login.user.empty() && attempt.tls && !attempt.failure)
    replies = examine_login(upstream, first_bytes, connected, login, report);
  else if (!login.user.empty() && connected != nullptr && !sslmodes.empty())
    replies.in_plaintext = ask_in_plaintext(connected->address, first_bytes, login, budget_of(config, 1));
  report.sslmodes = forecast_sslmodes(sslmodes, evidence, report.verdict, replies);
  return report;
}

}  // namespace pgveil::proxy
