// One verified connection to a server: connect, greeting, TLS handshake. What comes out may carry a client's
// bytes; before that none may, and nothing that the server says is shown to anyone.
#pragma once

#include <memory>
#include <optional>

#include "protocol/upstream_greeting.h"
#include "proxy/connector.h"
#include "proxy/deadline.h"
#include "proxy/handshake_turns.h"
#include "proxy/snapshot.h"
#include "proxy/tls_stream.h"

namespace pgveil::proxy {

class UpstreamLink final : private Wakeable {
 public:
  enum class State {
    connecting,   // resolving, connecting, and the answer to SSLRequest
    verifying,    // TLS handshake: chain, name, CRL
    established,  // take_stream() may be called
    failed,       // failure() says why
  };

  // `turns`, `resolver`, `upstream` and `owner` must outlive the link. `tls`: of the upstream, or with
  // another client certificate. `only`: see Connector.
  UpstreamLink(uv_loop_t* loop, HandshakeTurns& turns, Resolver& resolver, const Upstream& upstream,
               std::shared_ptr<const tls::ClientContext> tls, Wakeable& owner,
               std::optional<ServerAddress> only = std::nullopt);

  [[nodiscard]] State advance(Scratch& scratch);

  // Has further wake-ups go to another owner, as when an established link goes over to a session.
  void hand_to(Wakeable& owner);
  // Of an established link: how its server has ended, or has spoken before it was asked anything. Asks the
  // kernel, so that the answer is of now.
  [[nodiscard]] std::optional<Ending> broken_silence(Scratch& scratch);
  // Ends what nobody took, with TLS's own farewell where it got so far.
  void close(Scratch& scratch);

  // The stream, whose wake-ups go to the owner. Once.
  [[nodiscard]] std::unique_ptr<Stream> take_stream();
  // Where it leads, from `connecting` on as soon as an address is tried.
  [[nodiscard]] const std::optional<ServerAddress>& server() const { return server_; }
  // What the handshake agreed on; nullopt for a plaintext upstream.
  [[nodiscard]] const std::optional<tls::Established>& tls() const { return tls_; }
  [[nodiscard]] const Ending& failure() const { return failure_; }
  // Whether the time that was spent went into a server that took the connection, and what it still owed.
  [[nodiscard]] Ending timed_out() const;

 private:
  enum class Step { connect, greet, shake_hands, done, failed };

  void wake() override { owner_->wake(); }
  [[nodiscard]] Step connect(Scratch& scratch);
  [[nodiscard]] Step greet(Scratch& scratch);
  [[nodiscard]] Step begin_tls();
  [[nodiscard]] Step shake_hands(Scratch& scratch);
  [[nodiscard]] Step finish();
  [[nodiscard]] Step next_address(const std::string& why);
  [[nodiscard]] Step fail(Ending ending);
  [[nodiscard]] bool wants_tls() const;

  const Upstream& upstream_;
  std::shared_ptr<const tls::ClientContext> context_;
  Wakeable* owner_;
  Connector connector_;
  Deadline connect_deadline_;  // of the address under way
  protocol::UpstreamGreeting greeting_;
  HandshakeTurns::Place turn_;
  std::unique_ptr<SocketStream> socket_;
  std::unique_ptr<TlsStream> tls_stream_;
  SocketStream* watched_ = nullptr;  // socket_, also once it is below tls_stream_
  std::optional<ServerAddress> server_;
  std::optional<tls::Established> tls_;
  Ending failure_;
  Step step_ = Step::connect;
  bool handshake_begun_ = false;
  unsigned timed_attempt_ = 0;  // the one that connect_deadline_ is for
};

}  // namespace pgveil::proxy
