// A login that is relayed: the server asks, the client answers, and nothing is changed but the list of SASL
// mechanisms for a client without TLS (a plaintext connection has no channel to bind).
#pragma once

#include <optional>
#include <string>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/message.h"
#include "proxy/config.h"
#include "proxy/ending.h"

namespace pgveil::proxy {

class RelayedLogin {
 public:
  enum class Progress {
    waiting,   // the server has more to say
    finished,  // ReadyForQuery has come: what is left of the input belongs to the relay
    failed,    // ending() says why
  };

  explicit RelayedLogin(SaslMechanisms mechanisms) : mechanisms_(mechanisms) {}

  // Takes whole messages from the front of `from_server` and appends to `to_client` what the client is to
  // get.
  [[nodiscard]] Progress advance(protocol::ByteReader& from_server, protocol::Bytes& to_client);

  // With which key a CancelRequest will ask for this session; a server may send none.
  [[nodiscard]] const std::optional<protocol::CancelRequest>& cancel_key() const { return cancel_key_; }
  // The SQLSTATE with which the server refused the login; empty: it did not.
  [[nodiscard]] const std::string& refusal() const { return refusal_; }
  [[nodiscard]] const Ending& ending() const { return ending_; }

 private:
  [[nodiscard]] bool take_authentication(const protocol::Message& message, protocol::Bytes& to_client);
  [[nodiscard]] Progress fail(Ending ending);

  SaslMechanisms mechanisms_;
  std::optional<protocol::CancelRequest> cancel_key_;
  std::string refusal_;
  Ending ending_;
};

}  // namespace pgveil::proxy
