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

// Returns why a client without TLS is refused; nullopt: it may go on.
[[nodiscard]] std::optional<Ending> refuse_plaintext(const ListenerPolicy& policy);

// Whether the StartupMessage names a database. libpq always does.
[[nodiscard]] bool names_database(const protocol::StartupMessage& startup);

// A connection for physical replication is the server's, whatever database it names: the rules were not asked about that.
[[nodiscard]] bool asks_for_admin_database(const ListenerConfig& listener,
                                           const protocol::StartupMessage& startup);
// Returns why a client that a rule has let in may not use the admin database. With method scram-sha-256, the client has proved
// nothing yet: the name is checked after the login (is_admin_user()), so that others do not learn who is in admin_users.
[[nodiscard]] std::optional<Ending> refuse_admin_database(const ListenerConfig& listener,
                                                          const Decision& decision);
[[nodiscard]] bool is_admin_user(const ListenerConfig& listener, const std::string& database_user);

// Sets the user and the database that the rules assign. `assigned_database`: of AccessRules::decide_request().
void assign_names(protocol::StartupMessage& startup, const Decision& decision,
                  const std::string& assigned_database);
// Makes the StartupMessage that is sent to the server. `identity`: OpenedClient::identity(). Returns why the client is refused.
[[nodiscard]] std::optional<Ending> prepare_startup(protocol::StartupMessage& startup,
                                                    const ListenerConfig& listener, const Decision& decision,
                                                    std::string_view identity);

}  // namespace pgveil::proxy
