// How pgveil itself asks a client for a password, in the server's place: one class a method. What the client
// shows is what pgveil logs in to the server with.
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

class ClientLogin {
 public:
  enum class Progress {
    waiting,
    done,    // credential() may be taken
    failed,  // ending() says why
  };

  virtual ~ClientLogin() = default;

  // The first question.
  virtual void begin(protocol::Bytes& to_client) = 0;
  // The answer to it, or to a later one.
  [[nodiscard]] virtual Progress take(const protocol::Message& message, protocol::Bytes& to_client) = 0;
  // The longest answer, length word included.
  [[nodiscard]] virtual std::uint32_t max_message_length() const = 0;

  // What to log in to the server with. Once.
  [[nodiscard]] virtual Credential take_credential() = 0;
  // What has to come before AuthenticationOk.
  virtual void finish(protocol::Bytes& /*to_client*/) {}

  [[nodiscard]] const Ending& ending() const { return ending_; }

 protected:
  [[nodiscard]] Progress fail(Ending ending);

 private:
  Ending ending_;
};

// SCRAM-SHA-256, and -PLUS where the client's TLS can be bound. A user without a secret is asked all the
// same.
class ScramClientLogin final : public ClientLogin {
 public:
  // `end_point`: tls-server-end-point of the certificate that the client was shown; empty: none.
  ScramClientLogin(std::string user, AuthUser secret, protocol::Bytes end_point);

  void begin(protocol::Bytes& to_client) override;
  [[nodiscard]] Progress take(const protocol::Message& message, protocol::Bytes& to_client) override;
  [[nodiscard]] std::uint32_t max_message_length() const override { return protocol::kMaxScramMessageLength; }
  [[nodiscard]] Credential take_credential() override;
  void finish(protocol::Bytes& to_client) override;

 private:
  [[nodiscard]] Ending refused(protocol::ScramRefusal refusal) const;

  const std::string user_;
  const protocol::ScramSalting salting_;
  const std::shared_ptr<const protocol::SecretText> password_;  // null: only its verifier is held
  const bool has_end_point_;
  protocol::ScramServer scram_;
  bool began_ = false;
  std::string server_final_;
};

// A password in cleartext, inside TLS. Only the server can tell whether it is right.
class PasswordClientLogin final : public ClientLogin {
 public:
  explicit PasswordClientLogin(std::string user) : user_(std::move(user)) {}

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
