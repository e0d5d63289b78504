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

Step step(const LoginReply& reply, const char* name, Outcome outcome, std::string text) {
  return {.name = name, .outcome = outcome, .text = std::move(text), .duration = reply.duration};
}

Step fault(const LoginReply& reply, const char* name, std::string text, Finding finding) {
  Step failed = step(reply, name, Outcome::failed, std::move(text));
  failed.finding = std::move(finding);
  return failed;
}

std::string remedy_for(const protocol::ErrorFields& refusal, const LoginRequest& login) {
  if (refusal.sqlstate == protocol::sqlstate::kInvalidAuthorizationSpecification)
    return fmt::format(
        "Add a hostssl record for user \"{}\" and this machine's address to the server's pg_hba.conf and run SELECT "
        "pg_reload_conf(), or give --sslcert and --sslkey if the record asks for a certificate.",
        login.user);
  if (refusal.sqlstate == "3D000") return "Give the name of a database that exists with --dbname.";
  if (refusal.sqlstate == protocol::sqlstate::kTooManyConnections)
    return "Raise max_connections in the server's postgresql.conf, or end idle sessions.";
  return "Read the server's log for this login.";
}

Step refused(const LoginReply& reply, const LoginRequest& login) {
  const auto& refusal = *reply.refusal;
  return fault(
      reply, "login", fmt::format("refused with SQLSTATE {}", refusal.sqlstate),
      {.side = Side::server,
       .cause = fmt::format("The server refuses the login of user \"{}\": {}.", login.user, refusal.message),
       .remedy = remedy_for(refusal, login)});
}

Step sasl(const LoginReply& reply) {
  const auto offers = [&](std::string_view mechanism) {
    return std::ranges::find(reply.mechanisms, mechanism) != reply.mechanisms.end();
  };
  std::string text = fmt::format("SASL: {}", fmt::join(reply.mechanisms, ", "));
  if (!offers(protocol::kScramSha256Plus)) text += "; channel binding is not offered";
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

}  // namespace

Step login_step(const LoginReply& reply, const LoginRequest& login) {
  if (reply.refusal) return refused(reply, login);
  if (!reply.asked) return step(reply, "login", Outcome::noted, "not known: " + reply.error);
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

Step plaintext_step(const LoginReply& reply, const LoginRequest& login) {
  constexpr const char* kName = "plaintext";
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
  const bool is_rejected = reply.refusal->sqlstate == protocol::sqlstate::kInvalidAuthorizationSpecification;
  return step(reply, kName, is_rejected ? Outcome::passed : Outcome::noted,
              fmt::format("a login without TLS is refused with SQLSTATE {}", reply.refusal->sqlstate));
}

}  // namespace pgveil::proxy
