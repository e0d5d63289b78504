// Ways of logging in to the server: one class each. A login takes what the server says until its
// ReadyForQuery and decides what the client gets of it.
#pragma once

#include <optional>
#include <string>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/message.h"
#include "proxy/config.h"
#include "proxy/ending.h"

namespace pgveil::proxy {

class Login {
 public:
  enum class Progress {
    waiting,   // the server has more to say
    finished,  // ReadyForQuery has come: what is left of the input belongs to the relay
    failed,    // ending() says why
  };

  virtual ~Login() = default;

  // Takes whole messages from the front of `from_server` and appends to `to_client` what the client is to
  // get.
  [[nodiscard]] Progress advance(protocol::ByteReader& from_server, protocol::Bytes& to_client);

  // Whether the client takes part. Otherwise nothing is read from it before the relay begins.
  [[nodiscard]] virtual bool asks_client() const = 0;
  // While true, what the client says is for judge_client() before it goes on to the server.
  [[nodiscard]] virtual bool holds_client() const { return false; }
  // Looks at what the client has said so far. True: it may go on as it is. `failed`: ending() says why.
  enum class Judgement { waiting, passed, failed };
  [[nodiscard]] virtual Judgement judge_client(protocol::ByteView /*from_client*/) {
    return Judgement::passed;
  }

  // With which key a CancelRequest will ask for this session; a server may send none.
  [[nodiscard]] const std::optional<protocol::CancelRequest>& cancel_key() const { return cancel_key_; }
  // The SQLSTATE with which the server refused the login; empty: it did not.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] const Ending& ending() const { return ending_; }

 protected:
  // An authentication request (or AuthenticationOk) of the server. False: ending_ says why the login fails.
  [[nodiscard]] virtual bool take_authentication(const protocol::Authentication& authentication,
                                                 const protocol::Message& message,
                                                 protocol::Bytes& to_client) = 0;
  [[nodiscard]] bool fail(Ending ending);

 private:
  std::optional<protocol::CancelRequest> cancel_key_;
  std::string refusal_;
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
  explicit RelayedLogin(ChannelBinding binding) : binding_(binding) {}

  [[nodiscard]] bool asks_client() const override { return true; }
  [[nodiscard]] bool holds_client() const override { return holds_client_; }
  [[nodiscard]] Judgement judge_client(protocol::ByteView from_client) override;

 private:
  [[nodiscard]] bool take_authentication(const protocol::Authentication& authentication,
                                         const protocol::Message& message,
                                         protocol::Bytes& to_client) override;

  ChannelBinding binding_;
  bool holds_client_ = false;  // until it has chosen a mechanism
};

// A login in which the server takes pgveil's word, by trust, peer or pgveil's own client certificate, for a
// client that pgveil has identified. A server that asks for more ends it: the question is not the client's to
// answer.
class VouchedLogin final : public Login {
 public:
  [[nodiscard]] bool asks_client() const override { return false; }

 private:
  [[nodiscard]] bool take_authentication(const protocol::Authentication& authentication,
                                         const protocol::Message& message,
                                         protocol::Bytes& to_client) override;
};

}  // namespace pgveil::proxy
