#include "proxy/session/admission_checks.h"

#include <algorithm>

#include "proxy/access/identity.h"
#include "proxy/session/startup_parameters.h"

namespace pgveil::proxy {

bool requires_tls(const ListenerPolicy& policy) {
  return policy.tls && policy.config.tls_policy() == ListenerTls::require;
}

std::optional<Ending> refuse_plaintext(const ListenerPolicy& policy) {
  if (!requires_tls(policy)) return std::nullopt;
  return Ending{.reason = Reason::tls_required,
                .hint = "Connect with sslmode=verify-full (or at least sslmode=require)."};
}

bool names_database(const protocol::StartupMessage& startup) {
  return !startup.find("database").value_or("").empty();
}

bool is_for_admin_database(const ListenerConfig& listener, const RequestedDatabase& requested) {
  return !listener.admin_database.empty() && !requested.physical_replication && requested.is_named &&
         requested.name == listener.admin_database;
}

bool asks_for_admin_database(const ListenerConfig& listener, const protocol::StartupMessage& startup) {
  return is_for_admin_database(listener, {.name = startup.database(),
                                          .is_named = names_database(startup),
                                          .physical_replication = startup.is_physical_replication()});
}

std::optional<Ending> refuse_admin_database(const ListenerConfig& listener, const Decision& decision) {
  if (!works_without_server(decision.rule->method))
    return Ending{.reason = Reason::admin_database_denied,
                  .detail = "The rule has method " + std::string(protocol::name_of(decision.rule->method)) +
                            ", with which only a server can authenticate the client.",
                  .hint = "Put a rule for this database before it, with method cert, peer or scram-sha-256."};
  if (decision.rule->method == protocol::HbaMethod::scram_sha_256) return std::nullopt;
  return refuse_admin_user(listener, decision.database_user);
}

std::optional<Ending> refuse_admin_user(const ListenerConfig& listener, const std::string& database_user) {
  const auto& users = listener.admin_users;
  if (std::ranges::find(users, database_user) != users.end()) return std::nullopt;
  return Ending{.reason = Reason::admin_database_denied,
                .detail = "User \"" + database_user + "\" is not in admin_users of the listener.",
                .hint = "Connect to another database, or add the user to admin_users."};
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
