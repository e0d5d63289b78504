#include "proxy/login/login_plan.h"

#include <utility>

#include "proxy/access/access_rules.h"
#include "proxy/credentials/command_password.h"
#include "proxy/login/client_authenticator.h"
#include "proxy/login/server_authenticator.h"
#include "proxy/login/terminated_login.h"

namespace pgveil::proxy {
namespace {

using protocol::HbaMethod;

// Returns how SCRAM-SHA-256-PLUS is handled in a relayed login.
PlusMechanism binding_of(const LoginSituation& situation) {
  const ListenerConfig& listener = situation.listener.config;
  if (!situation.client_tls)
    return listener.sasl_mechanisms == SaslMechanisms::strip ? PlusMechanism::stripped
                                                             : PlusMechanism::passed_on;
  const bool ends_here = situation.server_tls && !listener.shared_certificate;
  return ends_here ? PlusMechanism::refused : PlusMechanism::passed_on;
}

Ending nothing_held(const LoginSituation& situation) {
  const UpstreamConfig& upstream = situation.upstream.config;
  Ending ending{.reason = Reason::upstream_asks_for_password};
  if (upstream.passfile.empty()) {
    ending.detail = "The upstream has neither a passfile nor a password_command.";
    ending.hint =
        "Let the server accept the proxy by its client certificate (cert map=...), by peer or by trust; give "
        "the "
        "upstream a passfile; or use a rule with method relay, so that the client is asked.";
  } else {
    ending.detail = "The passfile has no line for host " + situation.host.host + ", port " +
                    std::to_string(situation.host.port) + ", database " + situation.database + " and user " +
                    situation.user + ".";
    ending.hint = "Add one: hostname:port:database:username:password.";
  }
  return ending;
}

// Returns the credential for a client on whose behalf pgveil logs in.
Credential held_credential(const LoginSituation& situation, LoginServices services, Wakeable& owner) {
  const UpstreamConfig& upstream = situation.upstream.config;
  if (!upstream.password_command.empty())
    return std::make_unique<CommandPassword>(services.password_commands, upstream,
                                             PasswordTarget{.host = situation.host.host,
                                                            .port = situation.host.port,
                                                            .user = situation.user,
                                                            .database = situation.database},
                                             owner);
  if (auto password = situation.upstream.held.password(situation.host, situation.database, situation.user))
    return std::make_unique<KnownPassword>(std::move(password), "passfile");
  return std::make_unique<NoPassword>(nothing_held(situation));
}

std::unique_ptr<ClientAuthenticator> client_login(const LoginSituation& situation) {
  switch (situation.method) {
    case HbaMethod::scram_sha_256:
      return std::make_unique<ScramClientAuthenticator>(
          situation.user, situation.listener.users.find(situation.user),
          situation.client_tls ? situation.client_tls->own_end_point : protocol::Bytes());
    case HbaMethod::password: return std::make_unique<PasswordClientAuthenticator>(situation.user);
    default: return nullptr;
  }
}

}  // namespace

AuthMethods allowed_methods(const UpstreamConfig& upstream, HbaMethod method) {
  // Only the server can verify a cleartext password, so the server must request it.
  if (method == HbaMethod::password) {
    AuthMethods allowed = upstream.require_auth.value_or(AuthMethods{AuthMethod::scram_sha_256});
    allowed.remove(AuthMethod::none);
    return allowed;
  }
  if (upstream.require_auth) return *upstream.require_auth;
  if (method == HbaMethod::relay) return AuthMethods::all();
  if (!logs_in_for_client(method) || upstream.holds_passwords()) return {AuthMethod::scram_sha_256};
  // If the server requests a password, the login fails later, with an error that says that there is none.
  return {AuthMethod::none, AuthMethod::scram_sha_256, AuthMethod::md5, AuthMethod::password};
}

std::unique_ptr<Login> choose_login(const LoginSituation& situation, LoginServices services,
                                    Wakeable& owner) {
  const UpstreamConfig& upstream = situation.upstream.config;
  const AuthMethods allowed = allowed_methods(upstream, situation.method);
  if (situation.method == HbaMethod::relay)
    return std::make_unique<RelayedLogin>(binding_of(situation), allowed);

  auto client = client_login(situation);
  auto server = std::make_unique<ServerAuthenticator>(
      ServerAuthenticator::Terms{
          .user = situation.user,
          .allowed = allowed,
          .channel_binding = upstream.channel_binding,
          .has_tls = situation.server_tls != nullptr,
          .end_point = situation.server_tls ? situation.server_tls->peer_end_point : protocol::Bytes()},
      services.key_cache, owner);
  if (!client) server->use(held_credential(situation, services, owner));
  return std::make_unique<TerminatedLogin>(std::move(client), std::move(server), situation.denial);
}

}  // namespace pgveil::proxy
