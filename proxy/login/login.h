// Logins to the server: one class for each kind. A login processes the server's messages until ReadyForQuery,
// and decides which of them the client gets. This file has the login in which client and server authenticate
// each other. The login in which pgveil authenticates with both is in terminated_login.h.
#pragma once

#include <optional>
#include <string>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/message.h"
#include "proxy/config/require_auth.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

// Bytes to be sent. Those for the server may contain a secret.
struct LoginAnswers {
  protocol::Bytes to_client;
  protocol::Bytes to_server;
};

class Login {
 public:
  enum class Progress {
    waiting,   // for more bytes from the server or the client, or for a wake-up
    finished,  // ReadyForQuery was received: the rest of the input belongs to the relay
    failed,    // ending() has the reason
  };

  virtual ~Login();

  // Consumes whole messages from the front of `from_server`. It may be called without new bytes, because a
  // message may stay there until another event.
  [[nodiscard]] Progress advance(protocol::ByteReader& from_server, LoginAnswers& answers);

  // How the client's bytes are used.
  enum class ClientPart {
    silent,    // the client is not read before the relay begins
    relayed,   // they are sent to the server
    answered,  // they are given to take_client()
  };
  [[nodiscard]] virtual ClientPart client_part() const = 0;
  // While this is true, bytes of a relayed client must be given to check_client() before they are sent to the
  // server.
  [[nodiscard]] virtual bool holds_client() const { return false; }
  // Consumes whole messages from the front of `from_client`, if ClientPart is `answered`. Returns false if
  // the login fails: ending() has the reason.
  [[nodiscard]] virtual bool take_client(protocol::ByteReader& /*from_client*/, LoginAnswers& /*answers*/) {
    return true;
  }
  // Checks the client's bytes received so far. `passed`: they may be sent unchanged. `failed`: ending() has
  // the reason.
  enum class ClientCheck { waiting, passed, failed };
  [[nodiscard]] virtual ClientCheck check_client(protocol::ByteView /*from_client*/) {
    return ClientCheck::passed;
  }

  // Returns the key for a CancelRequest of this session. A server may send none.
  [[nodiscard]] const std::optional<protocol::CancelRequest>& cancel_key() const { return cancel_key_; }
  // Returns the server's error if it has refused the login; otherwise nullopt. The SQLSTATE is never empty.
  [[nodiscard]] const std::optional<protocol::ErrorFields>& refusal() const { return refusal_; }
  [[nodiscard]] const Ending& ending() const { return ending_; }
  // Returns libpq's name of the method by which pgveil has logged in itself; empty if it has not.
  [[nodiscard]] virtual std::string_view server_method() const { return {}; }

 protected:
  enum class Taken {
    yes,
    later,   // the message stays, for the next call of advance()
    failed,  // fail() was called
  };
  // Processes an authentication request, or AuthenticationOk, of the server.
  [[nodiscard]] virtual Taken take_authentication(const protocol::Authentication& authentication,
                                                  const protocol::Message& message,
                                                  LoginAnswers& answers) = 0;
  // Decides about the server's refusal `error`, before or after AuthenticationOk (`authenticated`). Returns
  // an ending of pgveil's own if the error does not concern the client; nullopt: the client gets the server's
  // error.
  [[nodiscard]] virtual std::optional<Ending> check_refusal(const protocol::ErrorFields& /*error*/,
                                                            bool /*authenticated*/) {
    return std::nullopt;
  }
  [[nodiscard]] Taken fail(Ending ending);

 private:
  bool authenticated_ = false;  // AuthenticationOk was received
  std::optional<protocol::CancelRequest> cancel_key_;
  std::optional<protocol::ErrorFields> refusal_;
  Ending ending_;
};

// The handling of SCRAM-SHA-256-PLUS in the server's list of SASL mechanisms. This mechanism binds a login to
// the TLS connection that it uses.
enum class PlusMechanism {
  passed_on,  // to a client that can use it, or that shall see the server's list
  stripped,   // a client without TLS has no TLS connection to bind
  refused,    // the client's TLS ends at pgveil: the server would refuse the login
};

// A relayed login: the server requests, the client responds, and only the list of mechanisms may be changed.
class RelayedLogin final : public Login {
 public:
  // `allowed`: the authentication methods that the server may request from the client.
  RelayedLogin(PlusMechanism binding, AuthMethods allowed) : binding_(binding), allowed_(allowed) {}

  [[nodiscard]] ClientPart client_part() const override { return ClientPart::relayed; }
  [[nodiscard]] bool holds_client() const override { return holds_client_; }
  [[nodiscard]] ClientCheck check_client(protocol::ByteView from_client) override;

 private:
  [[nodiscard]] Taken take_authentication(const protocol::Authentication& authentication,
                                          const protocol::Message& message, LoginAnswers& answers) override;

  PlusMechanism binding_;
  AuthMethods allowed_;
  bool asked_ = false;         // the server has sent a request
  bool holds_client_ = false;  // until the client has chosen a mechanism
};

// Returns the ending for a request that is not allowed, or for a login accepted without a request.
[[nodiscard]] Ending method_not_allowed(const protocol::Authentication& request, AuthMethods allowed);
// Returns what a request asks for, as a part of a sentence: "an MD5 password".
[[nodiscard]] std::string describe(const protocol::Authentication& request);

// Returns the message and the SQLSTATE of a server's refusal, as a part of a sentence.
[[nodiscard]] std::string words_of(const protocol::ErrorFields& error);

// Returns the ending for a server that violates the protocol: "The server sent ... during the login."
[[nodiscard]] Ending login_not_understood(const std::string& what);

}  // namespace pgveil::proxy
