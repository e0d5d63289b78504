// pgveil's own responses to a server's authentication requests: SCRAM-SHA-256 with and without channel
// binding, MD5, cleartext. A request that is not allowed gets no response. Source: PostgreSQL 18,
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

class ServerAuthenticator {
 public:
  struct Terms {
    std::string user;  // the database user
    AuthMethods allowed;
    protocol::ChannelBinding channel_binding = protocol::ChannelBinding::prefer;
    bool has_tls = false;
    protocol::Bytes end_point;  // see protocol::ScramClientTerms
  };

  // `key_cache` and `owner` must outlive this object. `owner` is woken when answer() can continue.
  ServerAuthenticator(Terms terms, ScramKeyCache& key_cache, Wakeable& owner);
  ~ServerAuthenticator();
  ServerAuthenticator(const ServerAuthenticator&) = delete;
  ServerAuthenticator& operator=(const ServerAuthenticator&) = delete;

  // Returns why a first request must not be answered, before the client is asked for a password; nullopt: it
  // may be.
  [[nodiscard]] std::optional<Ending> objection_to(const protocol::Authentication& request) const;

  // Sets the credential. Must be called before the first answer().
  void use(Credential credential);

  enum class Progress {
    answered,  // or no response was needed
    later,     // call again with the same request after a wake-up
    accepted,  // it was AuthenticationOk, and it is valid
    failed,    // ending() has the reason
  };
  [[nodiscard]] Progress answer(const protocol::Authentication& request, protocol::Bytes& to_server);
  // Returns the ending if the server has refused pgveil's login before AuthenticationOk. `words` is the
  // server's error. nullopt: the password was the client's own.
  [[nodiscard]] std::optional<Ending> refused(const std::string& words);

  [[nodiscard]] const Ending& ending() const { return ending_; }
  // Returns "SCRAM-SHA-256-PLUS", "md5", ...; "none" if the server has requested nothing.
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
  ScramKeyCache& key_cache_;
  Wakeable& owner_;
  std::unique_ptr<PasswordSource> password_;
  std::optional<KeysOfSalting> keys_;
  std::optional<protocol::ScramClient> scram_;
  std::optional<protocol::ScramSalting> salting_;  // from the server
  std::unique_ptr<ScramKeyCache::Request> computing_;
  std::string_view method_ = "none";
  bool asked_ = false;  // an authentication request was answered
  Ending ending_;
};

}  // namespace pgveil::proxy
