#include "proxy/session/admission.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "proxy/diagnostics/audit.h"
#include "proxy/session/admission_checks.h"
#include "proxy/session/startup_parameters.h"
#include "proxy/upstream/upstream_failure.h"

namespace pgveil::proxy {
namespace {

// The interval at which a login that waits for the audit queue checks it again.
constexpr std::chrono::milliseconds kAuditPause{100};

Ending no_admin_database(int error) {
  const std::string why = std::strerror(error);
  return {.reason = Reason::out_of_resources,
          .detail = "There is no connection to the admin database: " + why + ".",
          .hint = error == ECONNREFUSED ? "pgveil is stopping, or has no thread for it; see the log."
                                        : "Raise the limit of open files (LimitNOFILE, ulimit -n)."};
}

}  // namespace

Admission::Admission(SessionContext& context, OpenedClient client)
    : context_(context),
      gate_(context),
      admitted_{.client = std::move(client),
                .upstream = context.policy().upstream,
                .tls_to_server = nullptr,
                .kept = nullptr} {
  context_.observer.note_request(admitted_.client.startup);
}

// Enforces the TLS policy first. Each StartupMessage passes here, with or without TLS.
Admission::State Admission::advance() {
  if (context_.deadline.passed()) return refuse(timeout_ending());
  context_.client->pause_reading();
  if (!admitted_.client.tls)
    if (auto refusal = refuse_plaintext(context_.policy())) return refuse(*std::move(refusal));
  if (context_.client->write_broken()) return refuse(lost_client_ending(*context_.client));
  switch (gate_.advance()) {
    case LoginGate::State::waiting: return State::waiting;
    case LoginGate::State::refused: return refuse(gate_.refusal());
    case LoginGate::State::open: break;
  }
  if (waits_for_audit()) return State::waiting;
  if (host_name_ && !host_name_->found()) return State::waiting;

  const Decision decision = decide();
  if (decision.needs_host_name) {
    host_name_ = std::make_unique<ClientHostName>(context_.services.resolver, context_.origin.address(),
                                                  context_.owner);
    if (host_name_->found()) context_.owner.wake();  // from the hosts file
    return State::waiting;
  }
  return admit(decision);
}

// Returns true, and sets a timer, if the audit queue has no room: a session begins only if its audit record can be
// written. The queue keeps room for the records of sessions that have already passed this check.
bool Admission::waits_for_audit() {
  if (audit_has_room()) {
    audit_pause_.reset();
    return false;
  }
  if (!audit_pause_) audit_pause_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
  audit_pause_->set(kAuditPause);
  return true;
}

Decision Admission::decide() {
  const OpenedClient& client = admitted_.client;
  const ClientAttributes attributes{.address = context_.origin.address(),
                                    .has_tls = client.tls != nullptr,
                                    .certificate = client.certificate(),
                                    .unix_user = client.unix_user,
                                    .user = client.startup.user(),
                                    .database = client.startup.database(),
                                    .physical_replication = client.startup.is_physical_replication(),
                                    .host_name = host_name_ ? host_name_->found() : std::nullopt};
  Decision decision =
      context_.policy().rules.decide_request(attributes, names_database(client.startup), assigned_database_);
  if (!assigned_database_.empty()) context_.observer.note_database(assigned_database_);
  return decision;
}

Admission::State Admission::admit(const Decision& decision) {
  context_.observer.note_decision(decision);
  if (decision.refusal) return refuse(*decision.refusal);
  const ListenerConfig& listener = context_.policy().config;
  const bool is_for_admin_database = asks_for_admin_database(listener, admitted_.client.startup);
  if (is_for_admin_database)
    if (auto refusal = refuse_admin_database(listener, decision)) return refuse(*std::move(refusal));
  if (const auto limit = enter_session(context_, decision.database_user))
    return refuse(session_limit_ending(context_, *limit, decision.database_user));
  context_.registration.leave_unauthenticated();
  admitted_.method = decision.rule->method;
  if (context_.listener.snapshot().reload.sessions == ReloadSessions::revalidate)
    admitted_.kept = keep_login(decision);
  if (is_for_admin_database) {
    if (auto failure = connect_to_admin_database(decision)) return refuse(*std::move(failure));
    return State::admitted;
  }
  protocol::StartupMessage& startup = admitted_.client.startup;
  assign_names(startup, decision, assigned_database_);
  context_.observer.note_startup(startup);
  if (auto refusal = prepare_startup(startup, listener, decision, admitted_.client.identity()))
    return refuse(*std::move(refusal));
  if (auto refusal = choose_certificate()) return refuse(*std::move(refusal));
  return State::admitted;
}

// Makes the admin database the server of this session.
std::optional<Ending> Admission::connect_to_admin_database(const Decision& decision) {
  auto connected = context_.services.shared.admin_database.connect();
  if (!connected) return no_admin_database(connected.error());
  auto& startup = admitted_.client.startup;
  set_startup_of_admin_database(startup, decision.database_user, context_.observer.session());
  admitted_.denial = refuse_admin_user(context_.policy().config, decision.database_user);
  admitted_.admin_database = *std::move(connected);
  admitted_.upstream = context_.policy().admin_database;
  context_.observer.note_startup(startup);
  context_.observer.note_upstream(admitted_.upstream->config.name);
  return std::nullopt;
}

// Must be called before the StartupMessage is changed.
std::unique_ptr<KeptLogin> Admission::keep_login(const Decision& decision) const {
  const OpenedClient& client = admitted_.client;
  auto kept = std::make_unique<KeptLogin>();
  kept->user = client.startup.user();
  kept->database = client.startup.database();
  kept->names_database = names_database(client.startup);
  kept->physical_replication = client.startup.is_physical_replication();
  kept->is_for_admin_database = asks_for_admin_database(context_.policy().config, client.startup);
  kept->unix_user = client.unix_user;
  if (host_name_) kept->host_name = host_name_->found();
  kept->client_tls = client.tls;
  kept->method = decision.rule->method;
  kept->database_user = decision.database_user;
  return kept;
}

// Chooses the certificate that pgveil presents to the server.
std::optional<Ending> Admission::choose_certificate() {
  const Upstream& upstream = *context_.policy().upstream;
  admitted_.tls_to_server = upstream.tls;
  if (!logs_in_for_client(admitted_.method) || upstream.config.role_certificates.empty()) return std::nullopt;
  const auto role = std::string(admitted_.client.startup.user());
  admitted_.tls_to_server = upstream.held.certificate_of(role);
  if (admitted_.tls_to_server) return std::nullopt;
  return no_role_certificate(upstream.config, role);
}

AdmittedClient Admission::take_client() {
  return std::move(admitted_);
}

Admission::State Admission::refuse(Ending ending) {
  ending_ = std::move(ending);
  return State::refused;
}

Ending Admission::timeout_ending() const {
  if (audit_pause_)
    return {.reason = Reason::audit_unavailable,
            .detail = "The target of the audit took no records within limits.startup_timeout.",
            .hint = "Look after the reader of the audit records, its daemon or its disk; see the log."};
  return {.reason = Reason::startup_timeout, .detail = "The client's host name was not found in time."};
}

}  // namespace pgveil::proxy
