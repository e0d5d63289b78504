// What answers at an address: PostgreSQL, or something else.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgveil::proxy {

struct LoginReply;

enum class Responder : std::uint8_t {
  unknown,     // its answers tell nothing
  postgresql,  // or something that answers as PostgreSQL does
  pgbouncer,
  pgveil,
  direct_tls,  // a TLS server that agrees on the protocol of PostgreSQL, and not more is known
  https,       // an HTTPS server
  http,        // an HTTP server without TLS
  tls,         // a TLS server of another or an unknown kind
  silent,      // takes connections, and never answers
};
// Returns the word for it in JSON.
[[nodiscard]] std::string_view name_of(Responder responder);
// Returns it with its article, and how it was recognized.
[[nodiscard]] std::string_view describe(Responder responder);

// Returns what has answered this to a StartupMessage without a user, which each server refuses in its own way; nullopt: the
// answer tells nothing.
[[nodiscard]] std::optional<Responder> responder_of(const LoginReply& reply_without_user);

}  // namespace pgveil::proxy
