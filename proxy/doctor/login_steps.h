// The answers of a server to logins, as steps of a report with their findings.
#pragma once

#include <optional>

#include "proxy/doctor/login_survey.h"
#include "proxy/doctor/report.h"
#include "proxy/doctor/trial_login.h"

namespace pgveil::proxy {

// The login over TLS.
[[nodiscard]] Step login_step(const LoginReply& reply, const LoginRequest& login);
// The version 3.2 of the protocol; `reply` is that to a StartupMessage of version 3.0, and `newer` that to one of 3.2.
[[nodiscard]] Step protocol_step(const LoginReply& reply, const LoginReply& newer);

// A login that was to be completed. `failure`: why it was not; nullopt: it was, with `method`.
[[nodiscard]] Step session_step(const std::optional<TrialLogin::Failure>& failure, std::string_view method,
                                const LoginRequest& login, StepDuration duration);

// A login that is not completed, because `reply` is not a request, or no password is known.
[[nodiscard]] Step no_session_step(const LoginReply& reply, const LoginRequest& login);

// A login that is not begun, because the connection of a session has no TLS.
[[nodiscard]] Step no_login_step();

// The login without TLS, which should be refused. `reply`: nullopt if no connection could be made for it.
[[nodiscard]] Step plaintext_step(const std::optional<LoginReply>& reply, const LoginRequest& login,
                                  std::optional<Responder> responder);

}  // namespace pgveil::proxy
