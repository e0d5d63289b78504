#include "proxy/doctor/examination.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "protocol/proxy_header.h"
#include "proxy/doctor/finding.h"
#include "proxy/doctor/login_steps.h"
#include "proxy/doctor/server_survey.h"
#include "proxy/doctor/session_attempt.h"
#include "proxy/doctor/survey_steps.h"
#include "proxy/doctor/version_survey.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

// What all addresses of a host together get beside connect_timeout, so that the timeout of each address comes first.
constexpr milliseconds kMargin{1'000};
// The budget of an address if connect_timeout is 0: a session has startup_timeout, 15 seconds by default.
constexpr milliseconds kUnlimited{15'000};
// The least time that a server has to reject our certificate after the handshake.
constexpr milliseconds kRejectionTime{500};

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

// Longer for a distant or slow server: a rejection takes a part of a handshake.
milliseconds rejection_time_of(const ServerSurvey& survey) {
  constexpr int kHandshakes = 4;
  const auto* server = surveyed_server(survey);
  if (server == nullptr || !server->requests_certificate) return milliseconds(0);
  return std::max(kRejectionTime, std::chrono::ceil<milliseconds>(kHandshakes * survey.handshake->duration));
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

// What the server does at the beginning of a login, on further connections to the address that has answered.
void examine_login(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
                   const KernelAddress& address, const LoginRequest& login, std::vector<Step>& steps) {
  const milliseconds time = budget_of(upstream->config, 1);
  const LoginReply reply = ask_verified(upstream, first_bytes, login, time);
  steps.push_back(login_step(reply, login));
  steps.push_back(plaintext_step(ask_in_plaintext(address, first_bytes, login, time), login));
}

}  // namespace

ServerReport examine(const std::shared_ptr<const Upstream>& upstream, const LoginRequest& login,
                     std::int64_t now) {
  const UpstreamConfig& config = upstream->config;
  const protocol::Bytes first_bytes = first_bytes_of(config);
  Surveyed found = survey(*upstream, first_bytes);
  const Evidence evidence{config, found.survey, found.chain, found.refusal};
  const SessionAttempt attempt =
      attempt_session(upstream, first_bytes, budget_of(config, found.survey.lookup.addresses.size()),
                      rejection_time_of(found.survey));
  if (surveyed_server(found.survey) != nullptr)
    found.survey.versions = accepted_versions(config, found.survey.attempts.back().address, first_bytes);
  ServerReport report{.upstream = config.name,
                      .server = {},
                      .steps = {},
                      .chain = found.chain,
                      .verdict = verdict_of(attempt)};
  if (!config.hosts.front().is_unix()) report.steps = steps_of(evidence, now);
  explain_faults(report.steps, report.verdict.reason, evidence);
  report.steps.push_back(verdict_step(attempt, evidence));
  if (attempt.tls && !attempt.failure && !login.user.empty())
    examine_login(upstream, first_bytes, found.survey.attempts.back().address, login, report.steps);
  return report;
}

}  // namespace pgveil::proxy
