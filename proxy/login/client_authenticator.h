// Authentication of a client by pgveil itself, in the server's place: one class for each method. Each class
// also provides the credential for the login to the server.
#pragma once

#include <memory>
#include <string>

#include "protocol/frontend.h"
#include "protocol/message.h"
#include "protocol/scram_server.h"
#include "proxy/credentials/password_source.h"
#include "proxy/credentials/user_secrets.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

class ClientAuthenticator {
 public:
  enum class Progress {
    waiting,
    done,    // take_credential() may be called
    failed,  // ending() has the reason
  };

  virtual ~ClientAuthenticator() = default;

  // Appends the first request.
  virtual void begin(protocol::Bytes& to_client) = 0;
  // Processes the client's response to a request, and appends the next request.
  [[nodiscard]] virtual Progress take(const protocol::Message& message, protocol::Bytes& to_client) = 0;
  // Returns the maximum length of a response, length word included.
  [[nodiscard]] virtual std::uint32_t max_message_length() const = 0;

  // Returns the credential for the login to the server. May be called once.
  [[nodiscard]] virtual Credential take_credential() = 0;
  // Appends the messages that must precede AuthenticationOk.
  virtual void finish(protocol::Bytes& /*to_client*/) {}

  [[nodiscard]] const Ending& ending() const { return ending_; }

 protected:
  [[nodiscard]] Progress fail(Ending ending);

 private:
  Ending ending_;
};

// SCRAM-SHA-256, and SCRAM-SHA-256-PLUS if the client's TLS connection can be bound. A user without a secret
// gets the same requests.
class ScramClientAuthenticator final : public ClientAuthenticator {
 public:
  // `end_point`: tls-server-end-point of the certificate that the client has received; empty: none.
  ScramClientAuthenticator(std::string user, AuthUser secret, protocol::Bytes end_point);

  void begin(protocol::Bytes& to_client) override;
  [[nodiscard]] Progress take(const protocol::Message& message, protocol::Bytes& to_client) override;
  [[nodiscard]] std::uint32_t max_message_length() const override { return protocol::kMaxScramMessageLength; }
  [[nodiscard]] Credential take_credential() override;
  void finish(protocol::Bytes& to_client) override;

 private:
  [[nodiscard]] Ending refused(protocol::ScramRefusal refusal) const;

  const std::string user_;
  const protocol::ScramSalting salting_;
  const std::shared_ptr<const protocol::SecretText> password_;  // null: only its SCRAM secret is known
  const bool has_end_point_;
  protocol::ScramServer scram_;
  bool began_ = false;
  std::string server_final_;
};

// A cleartext password, inside TLS. Only the server can verify it.
class PasswordClientAuthenticator final : public ClientAuthenticator {
 public:
  explicit PasswordClientAuthenticator(std::string user) : user_(std::move(user)) {}

  void begin(protocol::Bytes& to_client) override;
  [[nodiscard]] Progress take(const protocol::Message& message, protocol::Bytes& to_client) override;
  [[nodiscard]] std::uint32_t max_message_length() const override {
    return protocol::kMaxPasswordMessageLength;
  }
  [[nodiscard]] Credential take_credential() override;

 private:
  const std::string user_;
  std::shared_ptr<const protocol::SecretText> password_;
};

}  // namespace pgveil::proxy
