// The answers of a server to logins, as steps of a report with their findings.
#pragma once

#include "proxy/doctor/login_survey.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// The login over TLS.
[[nodiscard]] Step login_step(const LoginReply& reply, const LoginRequest& login);
// The login without TLS, which should be refused.
[[nodiscard]] Step plaintext_step(const LoginReply& reply, const LoginRequest& login);

}  // namespace pgveil::proxy
