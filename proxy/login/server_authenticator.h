// How pgveil answers a server's authentication requests by itself: SCRAM-SHA-256 with and without channel
// binding, MD5, cleartext; what is not allowed is not answered. Source: PostgreSQL 18,
// src/interfaces/libpq/fe-auth.c (check_expected_areq, pg_fe_sendauth).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/backend.h"
#include "protocol/scram_client.h"
#include "proxy/config/require_auth.h"
#include "proxy/credentials/password_source.h"
#include "proxy/credentials/scram_key_cache.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

class ServerLogin {
 public:
  struct Terms {
    std::string user;  // as the server knows it
    AuthMethods allowed;
    protocol::ChannelBinding channel_binding = protocol::ChannelBinding::prefer;
    bool has_tls = false;
    protocol::Bytes end_point;  // see protocol::ScramClientTerms
  };

  // `keyring` and `owner`, which is woken, must outlive it.
  ServerLogin(Terms terms, ScramKeyring& keyring, Wakeable& owner);
  ~ServerLogin();
  ServerLogin(const ServerLogin&) = delete;
  ServerLogin& operator=(const ServerLogin&) = delete;

  // Whether a first request may be answered at all, before a client is asked for what it takes. The ending
  // says why not.
  [[nodiscard]] std::optional<Ending> objection_to(const protocol::Authentication& request) const;

  // What to answer with: before the first answer().
  void use(Credential credential);

  enum class Progress {
    answered,  // or there was nothing to say
    later,     // call again with the same request when woken
    accepted,  // it was AuthenticationOk, and that it may be
    failed,    // ending() says why
  };
  [[nodiscard]] Progress answer(const protocol::Authentication& request, protocol::Bytes& to_server);
  // The server has refused the login before AuthenticationOk, in these words, for who the proxy is. How it
  // ends; nullopt: the password was the client's own.
  [[nodiscard]] std::optional<Ending> refused(const std::string& words);

  [[nodiscard]] const Ending& ending() const { return ending_; }
  // "SCRAM-SHA-256-PLUS", "md5", ...; "none" where the server did not ask.
  [[nodiscard]] std::string_view method() const { return method_; }

 private:
  [[nodiscard]] Progress accept();
  [[nodiscard]] Progress send_password(protocol::Bytes& to_server);
  [[nodiscard]] Progress send_md5(protocol::ByteView data, protocol::Bytes& to_server);
  [[nodiscard]] Progress begin_scram(protocol::ByteView data, protocol::Bytes& to_server);
  [[nodiscard]] Progress continue_scram(protocol::ByteView data, protocol::Bytes& to_server);
  [[nodiscard]] Progress finish_scram(protocol::ByteView data);
  [[nodiscard]] Progress await_password();
  [[nodiscard]] Progress fail(Ending ending);
  [[nodiscard]] Progress fail(protocol::ScramFailure failure);

  const Terms terms_;
  ScramKeyring& keyring_;
  Wakeable& owner_;
  std::unique_ptr<PasswordSource> password_;
  std::optional<KeysOfSalting> keys_;
  std::optional<protocol::ScramClient> scram_;
  std::optional<protocol::ScramSalting> salting_;  // that the server asks for
  std::unique_ptr<ScramKeyring::Request> computing_;
  std::string_view method_ = "none";
  bool asked_ = false;  // an authentication request has been answered
  Ending ending_;
};

}  // namespace pgveil::proxy
