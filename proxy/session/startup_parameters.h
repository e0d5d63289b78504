// Changes and checks of a client's startup parameters before they are sent to the server.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/startup.h"
#include "proxy/config/config.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

// Sets the database that the listener's configuration fixes, or its default if the client names none. Must be called
// before the rules are checked.
void set_database(protocol::StartupMessage& startup, const ListenerConfig& listener);
// Sets options and application_name in the same way. Must be called after refuse_parameter(), which would
// refuse these values of the operator.
void set_parameters(protocol::StartupMessage& startup, const ListenerConfig& listener);

// The parameter that tells the admin database the name of the session.
inline constexpr std::string_view kSessionParameter = "pgveil.session";
// Leaves only what the admin database uses: the parameters of the protocol, the user, and the name of the session.
void set_startup_of_admin_database(protocol::StartupMessage& startup, const std::string& user,
                                   const std::string& session);

// Returns an ending for the first parameter, in the client's order, that is not allowed in a session for
// which pgveil logs in on the client's behalf: the parameter would take effect with rights that the client
// has not proved to the server. Names of settings are compared without case, as in PostgreSQL. Options that
// begin with `_pq_.` belong to the protocol and are always allowed.
[[nodiscard]] std::optional<Ending> refuse_parameter(const protocol::StartupMessage& startup,
                                                     const ListenerConfig& listener);

}  // namespace pgveil::proxy
