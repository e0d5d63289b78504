#include "proxy/session/admission_checks.h"

#include <algorithm>

#include "proxy/access/identity.h"
#include "proxy/session/startup_parameters.h"

namespace pgveil::proxy {
namespace {

// Returns whether pgveil itself knows after the login who the client is.
bool identifies_client(protocol::HbaMethod method) {
  return logs_in_for_client(method) || method == protocol::HbaMethod::scram_sha_256;
}

}  // namespace

std::optional<Ending> refuse_plaintext(const ListenerPolicy& policy) {
  if (!policy.tls || policy.config.tls_policy() != ListenerTls::require) return std::nullopt;
  return Ending{.reason = Reason::tls_required,
                .hint = "Connect with sslmode=verify-full (or at least sslmode=require)."};
}

bool names_database(const protocol::StartupMessage& startup) {
  return !startup.find("database").value_or("").empty();
}

bool asks_for_admin_database(const ListenerConfig& listener, const protocol::StartupMessage& startup) {
  const std::string& name = listener.admin_database;
  return !name.empty() && !startup.is_physical_replication() && names_database(startup) &&
         startup.database() == name;
}

std::optional<Ending> refuse_admin_database(const ListenerConfig& listener, const Decision& decision) {
  if (!identifies_client(decision.rule->method))
    return Ending{.reason = Reason::admin_database_denied,
                  .detail = "The rule has method " + std::string(protocol::name_of(decision.rule->method)) +
                            ", with which only a server can authenticate the client.",
                  .hint = "Put a rule for this database before it, with method cert, peer or scram-sha-256."};
  const bool has_proved_nothing = decision.rule->method == protocol::HbaMethod::scram_sha_256;
  if (!has_proved_nothing && !is_admin_user(listener, decision.database_user))
    return Ending{.reason = Reason::admin_database_denied,
                  .detail = "User \"" + decision.database_user + "\" is not in admin_users of the listener.",
                  .hint = "Connect to another database, or add the user to admin_users."};
  return std::nullopt;
}

bool is_admin_user(const ListenerConfig& listener, const std::string& database_user) {
  return std::ranges::find(listener.admin_users, database_user) != listener.admin_users.end();
}

// The database is the one that the rules were asked about, also if the rule that has admitted the client assigns another user.
void assign_names(protocol::StartupMessage& startup, const Decision& decision,
                  const std::string& assigned_database) {
  if (decision.rule->assign) startup.set("user", decision.database_user);
  if (!assigned_database.empty()) startup.set("database", assigned_database);
}

std::optional<Ending> prepare_startup(protocol::StartupMessage& startup, const ListenerConfig& listener,
                                      const Decision& decision, std::string_view identity) {
  if (logs_in_for_client(decision.rule->method))
    if (auto refusal = refuse_parameter(startup, listener)) return refusal;
  set_parameters(startup, listener);
  if (listener.log_client_identity)
    announce_identity(startup, {.who = identity, .system_user = decision.system_user},
                      listener.client_identity_in);
  if (protocol::fits_startup_packet(startup)) return std::nullopt;
  return Ending{.reason = Reason::protocol_violation,
                .detail = "The startup packet has no room left for what the proxy adds to it.",
                .hint = "Send shorter parameters, or turn log_client_identity off."};
}

}  // namespace pgveil::proxy
