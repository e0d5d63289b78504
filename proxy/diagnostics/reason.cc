#include "proxy/diagnostics/reason.h"

#include <array>

#include "protocol/sqlstate.h"

namespace pgveil::proxy {
namespace {

namespace sqlstate = protocol::sqlstate;
constexpr std::string_view kSilent = "";

// clang-format off
constexpr std::array kReasons{
    ReasonInfo{Reason::client_closed, "client_closed", kSilent, Fault::none,
               "the client ended the session"},
    ReasonInfo{Reason::server_closed, "server_closed", kSilent, Fault::none,
               "the server ended the session"},
    ReasonInfo{Reason::cancel_forwarded, "cancel_forwarded", kSilent, Fault::none,
               "the cancel request was passed to the server"},
    ReasonInfo{Reason::shutting_down, "shutting_down", sqlstate::kAdminShutdown, Fault::none,
               "terminating connection due to administrator command"},
    ReasonInfo{Reason::terminated, "terminated", sqlstate::kAdminShutdown, Fault::none,
               "terminating connection due to administrator command"},
    ReasonInfo{Reason::draining, "draining", sqlstate::kCannotConnectNow, Fault::none,
               "the proxy is shutting down"},
    ReasonInfo{Reason::idle_timeout, "idle_timeout", sqlstate::kIdleSessionTimeout, Fault::none,
               "terminating connection due to idle-session timeout"},
    ReasonInfo{Reason::session_lifetime, "session_lifetime", sqlstate::kAdminShutdown, Fault::none,
               "terminating connection due to session_lifetime"},
    ReasonInfo{Reason::no_longer_admitted, "no_longer_admitted", sqlstate::kAdminShutdown, Fault::none,
               "terminating connection because it is no longer admitted"},

    ReasonInfo{Reason::client_lost, "client_lost", kSilent, Fault::client,
               "the connection to the client was lost"},
    ReasonInfo{Reason::client_closed_unexpectedly, "client_closed_unexpectedly", kSilent, Fault::client,
               "the client closed the connection unexpectedly"},
    ReasonInfo{Reason::client_closed_in_message, "client_closed_in_message", kSilent, Fault::client,
               "the client closed the connection inside a message"},
    ReasonInfo{Reason::no_startup, "no_startup", kSilent, Fault::client,
               "the client closed before its StartupMessage"},
    ReasonInfo{Reason::proxy_header_invalid, "proxy_header_invalid", kSilent, Fault::client,
               "the connection does not begin with a valid PROXY header"},
    ReasonInfo{Reason::malformed_startup, "malformed_startup", kSilent, Fault::client,
               "the first bytes are not a PostgreSQL startup packet"},
    ReasonInfo{Reason::protocol_violation, "protocol_violation", sqlstate::kProtocolViolation, Fault::client,
               "invalid startup packet"},
    ReasonInfo{Reason::unsupported_protocol, "unsupported_protocol", sqlstate::kFeatureNotSupported, Fault::client,
               "unsupported frontend protocol"},
    ReasonInfo{Reason::unencrypted_data_after_ssl_request, "unencrypted_data_after_ssl_request",
               sqlstate::kProtocolViolation, Fault::client, "received unencrypted data after SSL request"},
    ReasonInfo{Reason::tls_not_offered, "tls_not_offered", kSilent, Fault::client,
               "the client asked for TLS, and this listener has none"},
    ReasonInfo{Reason::gss_not_offered, "gss_not_offered", kSilent, Fault::client,
               "the client asked for GSSAPI encryption, which is not supported"},
    ReasonInfo{Reason::tls_failed, "tls_failed", kSilent, Fault::client,
               "the TLS handshake with the client failed"},
    ReasonInfo{Reason::client_rejected_certificate, "client_rejected_certificate", kSilent, Fault::client,
               "the client did not accept the certificate of this listener"},
    ReasonInfo{Reason::left_after_handshake, "left_after_handshake", kSilent, Fault::client,
               "the client left after the TLS handshake"},
    ReasonInfo{Reason::client_certificate_invalid, "client_certificate_invalid", kSilent, Fault::client,
               "the client certificate is not valid"},
    ReasonInfo{Reason::tls_required, "tls_required", sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "connection requires TLS"},
    ReasonInfo{Reason::plaintext_cancel_denied, "plaintext_cancel_denied", kSilent, Fault::client,
               "a cancel request came in plaintext, which plaintext_cancel denies"},
    ReasonInfo{Reason::client_certificate_required, "client_certificate_required",
               sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "connection requires a valid client certificate"},
    ReasonInfo{Reason::identity_not_mapped, "identity_not_mapped",
               sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "the client certificate may not log in as this user"},
    ReasonInfo{Reason::rejected_by_rule, "rejected_by_rule", sqlstate::kInvalidAuthorizationSpecification,
               Fault::client, "no rule lets this connection in"},
    ReasonInfo{Reason::channel_binding_not_relayed, "channel_binding_not_relayed",
               sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "the proxy terminates TLS, so channel binding cannot be relayed; set channel_binding=disable"},
    ReasonInfo{Reason::channel_binding_failed, "channel_binding_failed",
               sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "SCRAM channel binding check failed"},
    ReasonInfo{Reason::password_wrong, "password_wrong", sqlstate::kInvalidPassword, Fault::client,
               "password authentication failed"},
    ReasonInfo{Reason::parameter_not_allowed, "parameter_not_allowed", sqlstate::kInsufficientPrivilege,
               Fault::client, "a startup parameter is not allowed here"},
    ReasonInfo{Reason::admin_database_denied, "admin_database_denied", sqlstate::kInsufficientPrivilege,
               Fault::client, "permission denied for the admin database"},
    ReasonInfo{Reason::no_user, "no_user", sqlstate::kInvalidAuthorizationSpecification, Fault::client,
               "no PostgreSQL user name specified in startup packet"},
    ReasonInfo{Reason::invalid_parameter, "invalid_parameter", sqlstate::kInvalidParameterValue, Fault::client,
               "invalid value for a startup parameter"},
    ReasonInfo{Reason::cancel_unknown, "cancel_unknown", kSilent, Fault::client,
               "the cancel request is for no session of this process"},
    ReasonInfo{Reason::too_many_cancels, "too_many_cancels", kSilent, Fault::client,
               "too many cancel requests at once"},
    ReasonInfo{Reason::too_many_sessions, "too_many_sessions", sqlstate::kTooManyConnections, Fault::operator_,
               "sorry, too many clients already"},
    ReasonInfo{Reason::sessions_reserved, "sessions_reserved", sqlstate::kTooManyConnections, Fault::operator_,
               "remaining sessions are reserved for other users"},
    ReasonInfo{Reason::too_many_sessions_of_user, "too_many_sessions_of_user", sqlstate::kTooManyConnections,
               Fault::client, "too many sessions of this user"},
    ReasonInfo{Reason::too_many_sessions_of_address, "too_many_sessions_of_address", sqlstate::kTooManyConnections,
               Fault::client, "too many sessions of this client address"},
    ReasonInfo{Reason::login_rate_exceeded, "login_rate_exceeded", sqlstate::kTooManyConnections, Fault::client,
               "too many logins of this client address"},
    ReasonInfo{Reason::too_many_failed_logins, "too_many_failed_logins", sqlstate::kTooManyConnections,
               Fault::client, "too many failed logins of this client address"},
    ReasonInfo{Reason::made_room, "made_room", kSilent, Fault::client,
               "the client was not logged in yet, and a newer client took its place"},
    ReasonInfo{Reason::startup_timeout, "startup_timeout", kSilent, Fault::client,
               "the client sent no StartupMessage in time"},
    ReasonInfo{Reason::login_failed, "login_failed", kSilent, Fault::client,
               "the server refused the login"},
    ReasonInfo{Reason::login_timeout, "login_timeout", sqlstate::kQueryCanceled, Fault::client,
               "canceling authentication due to timeout"},

    ReasonInfo{Reason::upstream_not_resolved, "upstream_not_resolved",
               sqlstate::kCannotConnectNow, Fault::upstream,
               "could not connect to the server: its host name could not be resolved"},
    ReasonInfo{Reason::upstream_unreachable, "upstream_unreachable",
               sqlstate::kCannotConnectNow, Fault::upstream,
               "could not connect to the server"},
    ReasonInfo{Reason::upstream_timed_out, "upstream_timed_out",
               sqlstate::kCannotConnectNow, Fault::upstream,
               "could not connect to the server in time"},
    ReasonInfo{Reason::upstream_refused_tls, "upstream_refused_tls",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server does not support TLS, which is required"},
    ReasonInfo{Reason::upstream_protocol_violation, "upstream_protocol_violation",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server did not answer as a PostgreSQL server"},
    ReasonInfo{Reason::upstream_tls_failed, "upstream_tls_failed",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the TLS handshake with the server failed"},
    ReasonInfo{Reason::upstream_certificate_untrusted, "upstream_certificate_untrusted",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate is not from a trusted authority"},
    ReasonInfo{Reason::upstream_certificate_expired, "upstream_certificate_expired",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate has expired"},
    ReasonInfo{Reason::upstream_certificate_not_yet_valid, "upstream_certificate_not_yet_valid",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate is not yet valid"},
    ReasonInfo{Reason::upstream_certificate_revoked, "upstream_certificate_revoked",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate has been revoked"},
    ReasonInfo{Reason::upstream_certificate_wrong_name, "upstream_certificate_wrong_name",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate is not for the host that was asked"},
    ReasonInfo{Reason::upstream_certificate_invalid, "upstream_certificate_invalid",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the server's certificate is not valid"},
    ReasonInfo{Reason::upstream_crl_unusable, "upstream_crl_unusable",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::operator_,
               "the server's certificate could not be checked for revocation"},
    ReasonInfo{Reason::upstream_rejected_certificate, "upstream_rejected_certificate",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::operator_,
               "the server did not accept the client certificate of the proxy"},
    ReasonInfo{Reason::upstream_requires_channel_binding, "upstream_requires_channel_binding",
               sqlstate::kInvalidAuthorizationSpecification, Fault::upstream,
               "the server offers only logins with channel binding, which a connection without TLS cannot do"},
    ReasonInfo{Reason::upstream_channel_binding_unavailable, "upstream_channel_binding_unavailable",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "channel binding is required, but the server does not offer it"},
    ReasonInfo{Reason::upstream_asks_for_password, "upstream_asks_for_password",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the server asks for a password, and the proxy has none for this user"},
    ReasonInfo{Reason::upstream_auth_not_allowed, "upstream_auth_not_allowed",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the server's way of authentication is not allowed"},
    ReasonInfo{Reason::upstream_auth_unsupported, "upstream_auth_unsupported",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the server asks for an authentication that the proxy does not support"},
    ReasonInfo{Reason::upstream_signature_wrong, "upstream_signature_wrong",
               sqlstate::kInvalidAuthorizationSpecification, Fault::upstream,
               "the server could not prove that it knows the password"},
    ReasonInfo{Reason::upstream_refused_password, "upstream_refused_password",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the server refused the proxy's password for this user"},
    ReasonInfo{Reason::upstream_refused_login, "upstream_refused_login",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the server does not let the proxy log in as this user"},
    ReasonInfo{Reason::held_secret_outdated, "held_secret_outdated",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the proxy's secret for this user is not the server's"},
    ReasonInfo{Reason::password_command_failed, "password_command_failed",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the proxy could not obtain the password for this user"},
    ReasonInfo{Reason::role_certificate_missing, "role_certificate_missing",
               sqlstate::kInvalidAuthorizationSpecification, Fault::operator_,
               "the proxy holds no certificate for this user"},
    ReasonInfo{Reason::upstream_certificate_not_shared, "upstream_certificate_not_shared",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::operator_,
               "the server's certificate is not the one that the proxy shows to its clients"},
    ReasonInfo{Reason::upstream_wrong_peer, "upstream_wrong_peer",
               sqlstate::kSqlclientUnableToEstablishSqlconnection, Fault::upstream,
               "the process behind the server's Unix socket runs as another user"},
    ReasonInfo{Reason::upstream_lost, "upstream_lost", sqlstate::kConnectionFailure, Fault::upstream,
               "the connection to the server was lost"},
    ReasonInfo{Reason::server_closed_unexpectedly, "server_closed_unexpectedly", sqlstate::kConnectionFailure,
               Fault::upstream, "the server closed the connection unexpectedly"},
    ReasonInfo{Reason::server_closed_in_message, "server_closed_in_message", sqlstate::kConnectionFailure,
               Fault::upstream, "the server closed the connection inside a message"},

    ReasonInfo{Reason::out_of_resources, "out_of_resources", sqlstate::kInternalError, Fault::pgveil,
               "the proxy is out of a system resource"},
    ReasonInfo{Reason::out_of_memory, "out_of_memory", sqlstate::kOutOfMemory, Fault::pgveil,
               "out of memory"},
    ReasonInfo{Reason::audit_unavailable, "audit_unavailable", sqlstate::kCannotConnectNow, Fault::operator_,
               "the proxy cannot write its audit record"},
    ReasonInfo{Reason::internal_error, "internal_error", sqlstate::kInternalError, Fault::pgveil,
               "internal error"},
};
// clang-format on

// Each reason stands at its own place, so that describe() is an index.
constexpr bool in_order() {
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    if (kReasons[i].reason != static_cast<Reason>(i)) return false;
    if (kReasons[i].sqlstate.size() != 5 && !kReasons[i].sqlstate.empty()) return false;
  }
  return kReasons.size() == static_cast<std::size_t>(Reason::internal_error) + 1;
}
static_assert(in_order());

}  // namespace

const ReasonInfo& describe(Reason reason) {
  return kReasons[static_cast<std::size_t>(reason)];
}

std::span<const ReasonInfo> all_reasons() {
  return kReasons;
}

std::string_view name_of(Fault fault) {
  switch (fault) {
    case Fault::none: return "none";
    case Fault::client: return "client";
    case Fault::upstream: return "upstream";
    case Fault::operator_: return "operator";
    case Fault::pgveil: return "pgveil";
  }
  return "?";
}

}  // namespace pgveil::proxy
