#include "proxy/doctor/login_steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <utility>

#include "protocol/sqlstate.h"

namespace pgveil::proxy {
namespace {

using Code = protocol::AuthenticationCode;

constexpr const char* kReadTheLog = "Read the server's log for this login.";

Step step(const LoginReply& reply, const char* name, Outcome outcome, std::string text) {
  return {.name = name, .outcome = outcome, .text = std::move(text), .duration = reply.duration};
}

Step fault(const LoginReply& reply, const char* name, std::string text, Finding finding) {
  Step failed = failed_step(name, std::move(text), std::move(finding));
  failed.duration = reply.duration;
  return failed;
}

std::string remedy_for(const protocol::ErrorFields& refusal, const LoginRequest& login) {
  if (refusal.sqlstate == protocol::sqlstate::kInvalidAuthorizationSpecification)
    return fmt::format(
        "Add a hostssl record for user \"{}\" and this machine's address to the server's pg_hba.conf and run SELECT "
        "pg_reload_conf(), or {} if the record asks for a certificate.",
        login.user,
        login.is_configured ? "set sslcert and sslkey of the upstream" : "give --sslcert and --sslkey");
  if (refusal.sqlstate == protocol::sqlstate::kInvalidCatalogName)
    return "Give the name of a database that exists with --dbname.";
  if (refusal.sqlstate == protocol::sqlstate::kTooManyConnections)
    return "Raise max_connections in the server's postgresql.conf, or end idle sessions.";
  return kReadTheLog;
}

// The name of the database is an option of the command; what else is refused is decided by the server's settings.
Side side_of(const protocol::ErrorFields& refusal) {
  return refusal.sqlstate == protocol::sqlstate::kInvalidCatalogName ? Side::client : Side::server;
}

Step refused(const LoginReply& reply, const LoginRequest& login) {
  const auto& refusal = *reply.refusal;
  return fault(
      reply, "login", fmt::format("refused with SQLSTATE {}", refusal.sqlstate),
      {.side = side_of(refusal),
       .cause = fmt::format("The server refuses the login of user \"{}\": {}.", login.user, refusal.message),
       .remedy = remedy_for(refusal, login)});
}

Step unanswered(const LoginReply& reply, const LoginRequest& login) {
  // The ending of a connection is a sentence.
  const bool is_sentence = reply.error.ends_with('.');
  return fault(reply, "login", "no usable answer: " + reply.error,
               {.side = Side::server,
                .cause = is_sentence ? reply.error
                                     : fmt::format("The login of user \"{}\" got no usable answer: {}.",
                                                   login.user, reply.error),
                .remedy = kReadTheLog});
}

// What channel binding binds to: tls-server-end-point (RFC 5929).
std::string binding_text(std::size_t hash_bytes) {
  constexpr std::size_t kByteBits = 8;
  if (hash_bytes == 0) return "; channel binding is not defined for the signature of the certificate";
  return fmt::format("; channel binding by SHA-{} of the certificate", hash_bytes * kByteBits);
}

Step sasl(const LoginReply& reply) {
  const auto offers = [&](std::string_view mechanism) {
    return std::ranges::find(reply.mechanisms, mechanism) != reply.mechanisms.end();
  };
  std::string text = fmt::format("SASL: {}", fmt::join(reply.mechanisms, ", "));
  if (!offers(protocol::kScramSha256Plus))
    text += "; channel binding is not offered";
  else
    text += binding_text(reply.end_point_bytes);
  const bool is_known = offers(protocol::kScramSha256) || offers(protocol::kScramSha256Plus);
  return step(reply, "login", is_known ? Outcome::passed : Outcome::noted, std::move(text));
}

Step without_password(const LoginReply& reply, const LoginRequest& login) {
  if (reply.certificate_was_sent)
    return step(reply, "login", Outcome::passed,
                "the certificate is enough: the server asks for no password");
  return fault(
      reply, "login", "the server asks for nothing (method trust)",
      {.side = Side::server,
       .cause =
           fmt::format("The server lets everybody log in as user \"{}\" without a password.", login.user),
       .remedy =
           "Replace the method trust by scram-sha-256 or cert in the record of the server's pg_hba.conf, and run "
           "SELECT pg_reload_conf()."});
}

Step md5(const LoginReply& reply, const LoginRequest& login) {
  return fault(
      reply, "login", "an MD5 hash of the password",
      {.side = Side::server,
       .cause = fmt::format(
           "The server asks user \"{}\" for an MD5 hash, from which a password can be found.", login.user),
       .remedy =
           fmt::format("Set password_encryption = 'scram-sha-256', set the password of user \"{}\" anew, and "
                       "use the method scram-sha-256 in the server's pg_hba.conf.",
                       login.user)});
}

Step cleartext(const LoginReply& reply, const LoginRequest& login) {
  return fault(
      reply, "login", "the password itself",
      {.side = Side::server,
       .cause = fmt::format("The server asks user \"{}\" for the password itself, so that it learns it.",
                            login.user),
       .remedy = "Use the method scram-sha-256 instead of password, ldap, pam or radius in the server's "
                 "pg_hba.conf, and run SELECT pg_reload_conf()."});
}

// PostgreSQL before NegotiateProtocolVersion, and poolers that do not know it.
bool is_protocol_refusal(const protocol::ErrorFields& refusal) {
  return refusal.sqlstate == protocol::sqlstate::kFeatureNotSupported ||
         refusal.sqlstate == protocol::sqlstate::kProtocolViolation;
}

Finding finding_of_refusal(const protocol::ErrorFields& refusal, const LoginRequest& login) {
  std::string cause =
      fmt::format("The server refuses the login of user \"{}\": {}.", login.user, refusal.message);
  if (refusal.sqlstate != protocol::sqlstate::kInvalidPassword)
    return {.side = side_of(refusal), .cause = std::move(cause), .remedy = remedy_for(refusal, login)};
  return {
      .side = login.password_side,
      .cause = std::move(cause),
      .remedy = fmt::format(
          "Correct the password in {}, or set it on the server with ALTER ROLE \"{}\" PASSWORD, if its VALID "
          "UNTIL has not passed.",
          login.password_source, login.user)};
}

Step failed_session(const TrialLogin::Failure& failure, const LoginRequest& login, StepDuration duration) {
  Step failed{.name = "session", .outcome = Outcome::failed, .text = {}, .duration = duration};
  if (failure.refusal) {
    failed.text = fmt::format("refused with SQLSTATE {}", failure.refusal->sqlstate);
    failed.finding = finding_of_refusal(*failure.refusal, login);
  } else if (failure.ending) {
    const ReasonInfo& reason = describe(failure.ending->reason);
    failed.text = fmt::format("{} (reason {})", reason.message, reason.name);
    failed.finding = Finding{.side = Side::server,
                             .cause = failure.ending->detail,
                             .remedy = failure.ending->hint.empty() ? kReadTheLog : failure.ending->hint};
  } else {
    failed.text = failure.error;
    failed.finding = Finding{
        .side = Side::server,
        .cause = fmt::format("The login of user \"{}\" was not completed: {}.", login.user, failure.error),
        .remedy = kReadTheLog};
  }
  return failed;
}

}  // namespace

Step login_step(const LoginReply& reply, const LoginRequest& login) {
  if (reply.refusal) return refused(reply, login);
  if (!reply.asked) return unanswered(reply, login);
  switch (*reply.asked) {
    case Code::sasl: return sasl(reply);
    case Code::ok: return without_password(reply, login);
    case Code::md5_password: return md5(reply, login);
    case Code::cleartext_password: return cleartext(reply, login);
    default: break;
  }
  return step(reply, "login", Outcome::noted,
              fmt::format("authentication request {}, which pgveil does not support (such as GSSAPI)",
                          static_cast<std::uint32_t>(*reply.asked)));
}

Step protocol_step(const LoginReply& reply, const LoginReply& newer) {
  constexpr const char* kName = "protocol";
  if (newer.newest_version)
    return step(newer, kName, Outcome::noted,
                fmt::format("3.2 is not known to the server, which has {}.{} (it came with PostgreSQL 18)",
                            protocol::protocol_major(*newer.newest_version),
                            protocol::protocol_minor(*newer.newest_version)));
  if (newer.refusal && is_protocol_refusal(*newer.refusal))
    return step(newer, kName, Outcome::noted,
                fmt::format("3.2 is refused with SQLSTATE {}: {}; use max_protocol_version=3.0",
                            newer.refusal->sqlstate, newer.refusal->message));
  if (newer.asked || newer.refusal) return step(newer, kName, Outcome::passed, "3.2 is accepted");
  const bool is_answered = reply.asked || reply.refusal;
  if (!is_answered) return step(newer, kName, Outcome::noted, "not known: " + newer.error);
  return step(newer, kName, Outcome::noted,
              "3.2 is not accepted: " + newer.error + "; use max_protocol_version=3.0");
}

Step session_step(const std::optional<TrialLogin::Failure>& failure, std::string_view method,
                  const LoginRequest& login, StepDuration duration) {
  if (failure) return failed_session(*failure, login, duration);
  std::string text = method == "none" ? "logged in without a password"
                                      : fmt::format("logged in with {} and the password of {}", method,
                                                    login.password_source);
  if (method == protocol::kScramSha256Plus) text += ", bound to the certificate";
  return {.name = "session", .outcome = Outcome::passed, .text = std::move(text), .duration = duration};
}

Step no_session_step(const LoginReply& reply, const LoginRequest& login) {
  std::string why = "no password is known (--passfile)";
  if (!reply.asked)
    why = reply.refusal ? "the login is refused" : "the login got no usable answer";
  else if (!login.password_source.empty())
    why = fmt::format("no line of {} is for this host, port, database and user", login.password_source);
  else if (login.has_password_command)
    why = "the password comes from password_command, which is not run here (--passfile)";
  return {.name = "session", .text = "not tried: " + std::move(why)};
}

Step no_login_step() {
  return {.name = "login",
          .text = "not tried: a login is begun only with a server that is verified over TLS"};
}

Step plaintext_step(const std::optional<LoginReply>& tried, const LoginRequest& login,
                    std::optional<Responder> responder) {
  constexpr const char* kName = "plaintext";
  if (!tried) return {.name = kName, .text = "not known: no address accepted the first connection"};
  const LoginReply& reply = *tried;
  const bool is_pgbouncer = responder == Responder::pgbouncer;
  if (reply.asked && is_pgbouncer)
    return fault(reply, kName, "a login without TLS is not refused",
                 {.side = Side::server,
                  .cause = fmt::format("PgBouncer continues a login of user \"{}\" without TLS.", login.user),
                  .remedy = "Set client_tls_sslmode = require in pgbouncer.ini, and restart PgBouncer."});
  if (reply.asked)
    return fault(
        reply, kName, "a login without TLS is not refused",
        {.side = Side::server,
         .cause = fmt::format(
             "The server continues a login of user \"{}\" without TLS, because a host record of its "
             "pg_hba.conf matches.",
             login.user),
         .remedy =
             "Change host to hostssl in the first record that matches (SELECT * FROM pg_hba_file_rules), and run "
             "SELECT pg_reload_conf()."});
  if (!reply.refusal) return step(reply, kName, Outcome::noted, "not known: " + reply.error);
  const bool is_rejected =
      reply.refusal->sqlstate == protocol::sqlstate::kInvalidAuthorizationSpecification ||
      (is_pgbouncer && reply.refusal->message == "SSL required");
  return step(reply, kName, is_rejected ? Outcome::passed : Outcome::noted,
              fmt::format("a login without TLS is refused with SQLSTATE {}", reply.refusal->sqlstate));
}

}  // namespace pgveil::proxy
