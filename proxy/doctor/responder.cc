#include "proxy/doctor/responder.h"

#include "protocol/sqlstate.h"
#include "proxy/diagnostics/reason.h"
#include "proxy/doctor/login_reply.h"

namespace pgveil::proxy {

std::string_view name_of(Responder responder) {
  switch (responder) {
    case Responder::unknown: return "unknown";
    case Responder::postgresql: return "postgresql";
    case Responder::pgbouncer: return "pgbouncer";
    case Responder::pgveil: return "pgveil";
    case Responder::direct_tls: return "direct_tls";
    case Responder::https: return "https";
    case Responder::http: return "http";
    case Responder::tls: return "tls";
    case Responder::silent: return "silent";
  }
  return "?";
}

std::string_view describe(Responder responder) {
  switch (responder) {
    case Responder::unknown: return "not known: it does not answer as PostgreSQL or PgBouncer does";
    case Responder::postgresql: return "PostgreSQL, by its answer to a login without a user";
    case Responder::pgbouncer: return "PgBouncer, by its answer to a login without a user";
    case Responder::pgveil: return "pgveil, by its answer to a login without a user";
    case Responder::direct_tls: return "PostgreSQL or a proxy with direct TLS: it agrees on ALPN postgresql";
    case Responder::https: return "an HTTPS server: it agrees on the protocol of HTTP";
    case Responder::http: return "an HTTP server: it answers a request of HTTP";
    case Responder::tls:
      return "a TLS server that does not know SSLRequest, such as an HTTPS server or a proxy with direct TLS";
    case Responder::silent: return "nothing: the connection is taken, and nobody answers";
  }
  return "?";
}

// The messages of PgBouncer are those of src/client.c; it does not translate them. Those of PostgreSQL may be translated, so its
// SQLSTATE decides.
std::optional<Responder> responder_of(const LoginReply& reply_without_user) {
  const auto& refusal = reply_without_user.refusal;
  if (!refusal) return std::nullopt;
  if (refusal->message.starts_with(kMessagePrefix)) return Responder::pgveil;
  if (refusal->sqlstate == protocol::sqlstate::kInvalidAuthorizationSpecification)
    return Responder::postgresql;
  if (refusal->message == "no username supplied" || refusal->message == "SSL required")
    return Responder::pgbouncer;
  return std::nullopt;
}

}  // namespace pgveil::proxy
