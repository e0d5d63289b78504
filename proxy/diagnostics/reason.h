// The reasons why a session ends. Each is an ErrorResponse for the client and a word in the log. The names are an
// interface and never change. docs/reasons.md lists them; a test compares the page with the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pgveil::proxy {

enum class Reason : std::uint8_t {
  // the regular ends of a session
  client_closed,
  server_closed,
  cancel_forwarded,
  shutting_down,
  terminated,
  draining,
  idle_timeout,
  session_lifetime,
  no_longer_admitted,
  // what a client did
  client_lost,
  client_closed_unexpectedly,
  client_closed_in_message,
  no_startup,
  proxy_header_invalid,
  malformed_startup,
  protocol_violation,
  unsupported_protocol,
  unencrypted_data_after_ssl_request,
  tls_not_offered,
  gss_not_offered,
  tls_failed,
  client_rejected_certificate,
  left_after_handshake,
  client_certificate_invalid,
  tls_required,
  plaintext_cancel_denied,
  client_certificate_required,
  identity_not_mapped,
  rejected_by_rule,
  channel_binding_not_relayed,
  channel_binding_failed,
  password_wrong,
  parameter_not_allowed,
  admin_database_denied,
  no_user,
  invalid_parameter,
  cancel_unknown,
  too_many_cancels,
  too_many_sessions,
  sessions_reserved,
  too_many_sessions_of_user,
  too_many_sessions_of_address,
  login_rate_exceeded,
  too_many_failed_logins,
  made_room,
  startup_timeout,
  login_failed,
  login_timeout,
  // what came from the server, or from a process that answered instead of it
  upstream_not_resolved,
  upstream_unreachable,
  upstream_timed_out,
  upstream_refused_tls,
  upstream_protocol_violation,
  upstream_tls_failed,
  upstream_certificate_untrusted,
  upstream_certificate_expired,
  upstream_certificate_not_yet_valid,
  upstream_certificate_revoked,
  upstream_certificate_wrong_name,
  upstream_certificate_invalid,
  upstream_crl_unusable,
  upstream_rejected_certificate,
  upstream_requires_channel_binding,
  upstream_channel_binding_unavailable,
  upstream_asks_for_password,
  upstream_auth_not_allowed,
  upstream_auth_unsupported,
  upstream_signature_wrong,
  upstream_refused_password,
  upstream_refused_login,
  held_secret_outdated,
  password_command_failed,
  role_certificate_missing,
  upstream_certificate_not_shared,
  upstream_wrong_peer,
  upstream_lost,
  server_closed_unexpectedly,
  server_closed_in_message,
  // pgveil itself
  out_of_resources,
  out_of_memory,
  audit_unavailable,
  internal_error,
};
inline constexpr std::size_t kReasonCount = static_cast<std::size_t>(Reason::internal_error) + 1;

// Who has to act. The level of the log line depends on it, so that a port scan does not cause an alarm.
enum class Fault : std::uint8_t { none, client, upstream, operator_, pgveil };

// The beginning of each error message that pgveil itself sends to a client, to distinguish it from those of the server.
inline constexpr std::string_view kMessagePrefix = "pgveil: ";

struct ReasonInfo {
  Reason reason;
  std::string_view name;
  std::string_view sqlstate;  // empty: the client gets no message
  Fault fault;
  std::string_view message;  // PostgreSQL's style: lower case, no full stop
};

[[nodiscard]] const ReasonInfo& describe(Reason reason);
[[nodiscard]] std::span<const ReasonInfo> all_reasons();
[[nodiscard]] std::string_view name_of(Fault fault);

}  // namespace pgveil::proxy
