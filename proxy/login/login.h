// Ways of logging in to the server: one class each. A login takes what the server says until its
// ReadyForQuery and decides what the client gets of it. Those in which client and server talk to each other
// are here; those in which pgveil talks to both are in completed_login.h.
#pragma once

#include <optional>
#include <string>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/message.h"
#include "proxy/config/require_auth.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

// What is to be sent; what goes to the server may be a secret.
struct LoginAnswers {
  protocol::Bytes to_client;
  protocol::Bytes to_server;
};

class Login {
 public:
  enum class Progress {
    waiting,   // for more of the server or of the client, or for a wake-up
    finished,  // ReadyForQuery has come: what is left of the input belongs to the relay
    failed,    // ending() says why
  };

  virtual ~Login() = default;

  // Takes whole messages from the front of `from_server`. A message may be left there until something else
  // has come, so it may be called without new bytes.
  [[nodiscard]] Progress advance(protocol::ByteReader& from_server, LoginAnswers& answers);

  // What becomes of the client's bytes.
  enum class ClientPart {
    silent,    // nothing is read from it before the relay begins
    relayed,   // they go to the server
    answered,  // they are for take_client()
  };
  [[nodiscard]] virtual ClientPart client_part() const = 0;
  // While true, what a relayed client says is for judge_client() before it goes on to the server.
  [[nodiscard]] virtual bool holds_client() const { return false; }
  // Takes whole messages from the front of `from_client`, of a client that is answered. False: ending() says
  // why the login fails.
  [[nodiscard]] virtual bool take_client(protocol::ByteReader& /*from_client*/, LoginAnswers& /*answers*/) {
    return true;
  }
  // Looks at what the client has said so far. True: it may go on as it is. `failed`: ending() says why.
  enum class Judgement { waiting, passed, failed };
  [[nodiscard]] virtual Judgement judge_client(protocol::ByteView /*from_client*/) {
    return Judgement::passed;
  }

  // With which key a CancelRequest will ask for this session; a server may send none.
  [[nodiscard]] const std::optional<protocol::CancelRequest>& cancel_key() const { return cancel_key_; }
  // With what the server has refused the login; nullopt: it has not. The SQLSTATE is never empty.
  [[nodiscard]] const std::optional<protocol::ErrorFields>& refusal() const { return refusal_; }
  [[nodiscard]] const Ending& ending() const { return ending_; }
  // How pgveil has logged in by itself: libpq's word for the method; empty where it has not.
  [[nodiscard]] virtual std::string_view server_method() const { return {}; }

 protected:
  enum class Taken {
    yes,
    later,   // as it stands, with the next call of advance()
    failed,  // fail() was called
  };
  // An authentication request (or AuthenticationOk) of the server.
  [[nodiscard]] virtual Taken take_authentication(const protocol::Authentication& authentication,
                                                  const protocol::Message& message,
                                                  LoginAnswers& answers) = 0;
  // The server refuses the login with `error`, before or after AuthenticationOk (`authenticated`). Returns
  // how the login ends if that does not concern the client; nullopt: the client gets the server's own words.
  [[nodiscard]] virtual std::optional<Ending> judge_refusal(const protocol::ErrorFields& /*error*/,
                                                            bool /*authenticated*/) {
    return std::nullopt;
  }
  [[nodiscard]] Taken fail(Ending ending);

 private:
  bool authenticated_ = false;  // AuthenticationOk has come
  std::optional<protocol::CancelRequest> cancel_key_;
  std::optional<protocol::ErrorFields> refusal_;
  Ending ending_;
};

// What becomes of SCRAM-SHA-256-PLUS in the server's list of SASL mechanisms, which binds a login to the TLS
// channel that it comes through.
enum class ChannelBinding {
  passed_on,  // to a client that can do it, or that is to see what the server offers
  stripped,   // a client without TLS has no channel to bind
  refused,    // the client's channel ends here: the server would refuse what is bound to it
};

// A login that is relayed: the server asks, the client answers, and nothing is changed but that list.
class RelayedLogin final : public Login {
 public:
  // `allowed`: what the server may ask for, so that a client that answers anything does not.
  RelayedLogin(ChannelBinding binding, AuthMethods allowed) : binding_(binding), allowed_(allowed) {}

  [[nodiscard]] ClientPart client_part() const override { return ClientPart::relayed; }
  [[nodiscard]] bool holds_client() const override { return holds_client_; }
  [[nodiscard]] Judgement judge_client(protocol::ByteView from_client) override;

 private:
  [[nodiscard]] Taken take_authentication(const protocol::Authentication& authentication,
                                          const protocol::Message& message, LoginAnswers& answers) override;

  ChannelBinding binding_;
  AuthMethods allowed_;
  bool asked_ = false;         // by the server
  bool holds_client_ = false;  // until it has chosen a mechanism
};

// Why a server may not ask for this, or accept a login without asking.
[[nodiscard]] Ending method_not_allowed(const protocol::Authentication& request, AuthMethods allowed);
// What a request asks for, in a sentence: "an MD5 password".
[[nodiscard]] std::string describe(const protocol::Authentication& request);

// The message and the SQLSTATE of a server's refusal, for a sentence.
[[nodiscard]] std::string words_of(const protocol::ErrorFields& error);

// For the sentence about a server that breaks the protocol: "The server sent ... during the login."
[[nodiscard]] Ending login_not_understood(const std::string& what);

}  // namespace pgveil::proxy
