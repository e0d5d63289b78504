// The first stage of a session: the PROXY header of a trusted proxy, what a client sends up to its StartupMessage, and the
// TLS handshake with it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "protocol/negotiation.h"
#include "proxy/net/tls_stream.h"
#include "proxy/session/session_bytes.h"
#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

// A client that has sent its StartupMessage.
struct OpenedClient {
  protocol::StartupMessage startup;
  std::shared_ptr<const tls::Established> tls;         // null: without TLS
  std::optional<protocol::ProxyEndpoint> destination;  // in its PROXY header; nullopt: none
  std::string unix_user;  // of the client's process on a Unix socket; empty: not needed, or unknown
  UnreadBytes unread;     // what it sent after the StartupMessage; may contain a password

  // The verified certificate of the client. Null: the client presented none.
  [[nodiscard]] const tls::PeerCertificate* certificate() const {
    return tls && tls->peer ? &*tls->peer : nullptr;
  }
  [[nodiscard]] ClientConnection connection() const { return {.tls = tls.get(), .destination = destination}; }
  // The subject of the certificate, or the Unix user of the client's process.
  [[nodiscard]] std::string_view identity() const {
    return certificate() != nullptr ? certificate()->subject : unix_user;
  }
};

class ClientOpening final : public Stage {
 public:
  enum class State {
    negotiating,  // PROXY header; GSSENCRequest, SSLRequest, direct TLS; or CancelRequest or StartupMessage at once
    accepting_tls,    // the TLS handshake
    reading_startup,  // StartupMessage or CancelRequest, inside TLS
    startup,          // take_client() may be called
    cancel,           // cancel_request() may be called
    failed,           // ending() has the reason
  };

  // `context` must outlive the stage, as for every stage.
  ClientOpening(SessionContext& context, std::string unix_user);

  // Returns at each change of the state. The caller must then call it again at once.
  [[nodiscard]] State advance();

  // Returns whether the session waits for bytes of the client, and not for a step of pgveil.
  [[nodiscard]] bool waits_for_client() const;

  [[nodiscard]] OpenedClient take_client();
  [[nodiscard]] protocol::CancelRequest take_cancel_request() { return negotiation_.take_cancel(); }
  [[nodiscard]] ClientConnection connection() const {
    return {.tls = tls_.get(), .destination = destination_};
  }
  [[nodiscard]] const Ending& ending() const { return ending_; }

  [[nodiscard]] ErrorFormat error_format() const override;

 private:
  [[nodiscard]] State negotiate();
  [[nodiscard]] std::optional<Ending> take_proxy_header();
  [[nodiscard]] std::optional<State> take_packet();
  [[nodiscard]] State begin_tls();
  [[nodiscard]] State accept_tls();
  [[nodiscard]] State finish_handshake();
  [[nodiscard]] State fail(Ending ending);
  [[nodiscard]] Ending early_leave() const;
  [[nodiscard]] Ending failed_handshake() const;
  [[nodiscard]] Ending failed_negotiation() const;
  [[nodiscard]] Ending invalid_proxy_header(std::string detail) const;

  SessionContext& context_;
  State state_ = State::negotiating;  // never `failed`: after a failure, the state before it
  protocol::Negotiation negotiation_;
  TlsStream* accepting_ = nullptr;  // the client's stream, during the TLS handshake
  std::optional<HandshakeQueue::Slot> handshake_slot_;
  std::shared_ptr<const tls::Established> tls_;
  std::optional<protocol::ProxyEndpoint> destination_;
  std::string unix_user_;
  UnreadBytes unread_;
  bool awaits_proxy_header_;  // a PROXY header is expected, or possible
  bool has_sent_ = false;     // negotiate() has read bytes of the client, other than a PROXY header
  Ending ending_;
};

}  // namespace pgveil::proxy
