// Which way a client and its server log in: by the method of the rule that let the client in.
#pragma once

#include <memory>
#include <string>

#include "protocol/hba.h"
#include "proxy/credentials/password_command.h"
#include "proxy/credentials/scram_key_cache.h"
#include "proxy/login/login.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/engine.h"

namespace pgveil::proxy {

// What is known when the server is connected. Everything outlives the login.
struct LoginSituation {
  const ListenerPolicy& listener;
  const Upstream& upstream;
  const UpstreamHost& host;  // that is connected
  protocol::HbaMethod method = protocol::HbaMethod::reject;
  std::string user;  // as the server is to read it
  std::string database;
  const tls::Established* client_tls = nullptr;  // null: without TLS
  const tls::Established* server_tls = nullptr;
};

// What a worker's logins share.
struct LoginServices {
  ScramKeyring& keyring;
  PasswordCommands& password_commands;
};

// `owner` is woken when a login that waits can go on.
[[nodiscard]] std::unique_ptr<Login> choose_login(const LoginSituation& situation, LoginServices services,
                                                  Wakeable& owner);

// What a server may ask for where the settings do not say: SCRAM-SHA-256 where pgveil has something to answer
// with, and nothing at all where its word, or its certificate, is all there is.
[[nodiscard]] AuthMethods allowed_methods(const UpstreamConfig& upstream, protocol::HbaMethod method);

}  // namespace pgveil::proxy
