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

[[nodiscard]] bool asks_for_admin_database(const ListenerConfig& listener,
                                           const protocol::StartupMessage& startup);
// Returns why a client that a rule has let in may not use the admin database.
[[nodiscard]] std::optional<Ending> refuse_admin_database(const ListenerConfig& listener,
                                                          const Decision& decision);

// Sets the user and the database that the rules assign. `assigned_database`: of AccessRules::decide_request().
void assign_names(protocol::StartupMessage& startup, const Decision& decision,
                  const std::string& assigned_database);
// Makes the StartupMessage that is sent to the server. `identity`: OpenedClient::identity(). Returns why the client is refused.
[[nodiscard]] std::optional<Ending> prepare_startup(protocol::StartupMessage& startup,
                                                    const ListenerConfig& listener, const Decision& decision,
                                                    std::string_view identity);

}  // namespace pgveil::proxy
