// The decisions about a client that are not those of the rules: those of Admission that `pgveil explain` shows, too.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/startup.h"
#include "proxy/access/access_rules.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

[[nodiscard]] bool requires_tls(const ListenerPolicy& policy);
// Returns why a client without TLS is refused; nullopt: it may go on.
[[nodiscard]] std::optional<Ending> refuse_plaintext(const ListenerPolicy& policy);

// Whether the StartupMessage names a database. libpq always does.
[[nodiscard]] bool names_database(const protocol::StartupMessage& startup);

// The database that a client asks for.
struct RequestedDatabase {
  std::string_view name;
  bool is_named = false;  // false: it is the name of the user
  bool physical_replication = false;
};
// A connection for physical replication is the server's, whatever database it names: the rules were not asked about that.
[[nodiscard]] bool is_for_admin_database(const ListenerConfig& listener, const RequestedDatabase& requested);
[[nodiscard]] bool asks_for_admin_database(const ListenerConfig& listener,
                                           const protocol::StartupMessage& startup);
// Returns why a client that a rule has let in may not use the admin database. With method scram-sha-256, the client has proved
// nothing yet: then only the method is checked here, so that others do not learn who is in admin_users.
[[nodiscard]] std::optional<Ending> refuse_admin_database(const ListenerConfig& listener,
                                                          const Decision& decision);
// Returns why this user may not use the admin database, for a client who has proved to be this user.
[[nodiscard]] std::optional<Ending> refuse_admin_user(const ListenerConfig& listener,
                                                      const std::string& database_user);

// Sets the user and the database that the rules assign. `assigned_database`: of AccessRules::decide_request().
void assign_names(protocol::StartupMessage& startup, const Decision& decision,
                  const std::string& assigned_database);
// Makes the StartupMessage that is sent to the server. `identity`: OpenedClient::identity(). Returns why the client is refused.
[[nodiscard]] std::optional<Ending> prepare_startup(protocol::StartupMessage& startup,
                                                    const ListenerConfig& listener, const Decision& decision,
                                                    std::string_view identity);

}  // namespace pgveil::proxy
