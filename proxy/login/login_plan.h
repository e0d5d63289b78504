// The choice of the login to the server, by the method of the rule that admitted the client.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "protocol/hba.h"
#include "proxy/credentials/password_command.h"
#include "proxy/credentials/scram_key_cache.h"
#include "proxy/login/login.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/engine.h"

namespace pgveil::proxy {

// What is known when the server is connected. All references must outlive the login.
struct LoginSituation {
  const ListenerPolicy& listener;
  const Upstream& upstream;
  const UpstreamHost& host;  // the connected host
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  std::string user;  // for the server
  std::string database;
  const tls::Established* client_tls = nullptr;  // null: without TLS
  const tls::Established* server_tls = nullptr;
  std::optional<Ending> denial = {};  // why the client is refused once pgveil has authenticated it
};

// Objects that all logins of a worker use.
struct LoginServices {
  ScramKeyCache& key_cache;
  PasswordCommands& password_commands;
};

// Returns the login. It wakes `owner` when it can continue after waiting.
[[nodiscard]] std::unique_ptr<Login> choose_login(const LoginSituation& situation, LoginServices services,
                                                  Wakeable& owner);

// Returns the methods that a server may request if the settings do not specify them. It is SCRAM-SHA-256 if
// pgveil has a password or keys to respond with. Otherwise (pgveil logs in on the client's behalf with a
// certificate only, or with nothing) the server may accept the login without a request.
[[nodiscard]] AuthMethods allowed_methods(const UpstreamConfig& upstream, protocol::HbaMethod method);

}  // namespace pgveil::proxy
