// What a client's startup parameters become before the server reads them.
#pragma once

#include <optional>

#include "protocol/startup.h"
#include "proxy/config/config.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

// Gives the database that the listener fixes, or has for clients that name none: before the rules are asked.
void set_database(protocol::StartupMessage& startup, const ListenerConfig& listener);
// Likewise options and application_name: after refuse_parameter(), since these are the operator's own.
void set_parameters(protocol::StartupMessage& startup, const ListenerConfig& listener);

// The first parameter, in the client's order, that may not go to a session that pgveil vouches for: it would
// act with rights that the client has shown to nobody but pgveil. Names of settings are compared without
// case, as PostgreSQL does; `_pq_.` options are the protocol's own.
[[nodiscard]] std::optional<Ending> refuse_parameter(const protocol::StartupMessage& startup,
                                                     const ListenerConfig& listener);

}  // namespace pgveil::proxy
