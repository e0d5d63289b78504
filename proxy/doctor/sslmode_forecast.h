// What each sslmode of libpq would do with a server, and what it would not protect against. Source: PostgreSQL 18,
// src/interfaces/libpq/fe-connect.c (PQconnectPoll, select_next_encryption_method) and fe-secure-openssl.c (initialize_SSL).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/doctor/finding.h"
#include "proxy/doctor/login_reply.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// The modes, from the weakest to the strongest.
[[nodiscard]] std::vector<std::string> sslmode_names();

// What is known of logins; nullopt: none was begun.
struct LoginReplies {
  std::optional<LoginReply> over_tls;
  std::optional<LoginReply> in_plaintext;
};

// `verdict` is that of the session: a server that rejects our certificate does so in each mode. As in libpq, a file of
// sslrootcert is used by `require` and by weaker modes, too; with sslrootcert=system only verify-full is possible, and the weaker
// modes are judged as if there were no root certificates.
[[nodiscard]] std::vector<SslModeForecast> forecast_sslmodes(const std::vector<std::string>& modes,
                                                             const Evidence& evidence, const Verdict& verdict,
                                                             const LoginReplies& replies);

}  // namespace pgveil::proxy
