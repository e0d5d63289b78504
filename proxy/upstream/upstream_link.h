// One verified connection to a server: connect, greeting, TLS handshake. Only then may it carry a client's
// bytes. Before that, nothing that the server sends is shown to a client or to the operator.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/upstream_greeting.h"
#include "proxy/base/deadline.h"
#include "proxy/net/handshake_queue.h"
#include "proxy/net/tls_stream.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/upstream/connector.h"

namespace pgveil::proxy {

// Objects that all links of an event loop use.
struct LinkServices {
  uv_loop_t* loop;
  HandshakeQueue& handshake_queue;
  Resolver& resolver;
};

class UpstreamLink final : private Wakeable {
 public:
  enum class State {
    connecting,   // resolving, connecting, and waiting for the reply to SSLRequest
    verifying,    // TLS handshake: chain, name, CRL
    established,  // take_stream() may be called
    failed,       // failure() has the reason
  };

  // The objects in `services`, and `owner`, must outlive the link. `tls`: the upstream's context, or a copy
  // with another client certificate. `budget`: the time for all attempts together. If further attempts are
  // possible, an attempt gets only its share of the remaining time. No attempt gets more than
  // connect_timeout. `proxy_header`: sent first on each connection; empty: none.
  UpstreamLink(const LinkServices& services, std::shared_ptr<const Upstream> upstream,
               std::shared_ptr<const tls::ClientContext> tls, Wakeable& owner,
               std::chrono::milliseconds budget, Course course = {}, protocol::Bytes proxy_header = {});

  [[nodiscard]] State advance(Scratch& scratch);

  // Sets short keepalive times on an established link that waits for a session, unless keepalives are off. So
  // a host that disappears is detected within seconds.
  void watch_closely();
  // Sends later wake-ups to another owner, for example the session that takes over an established link.
  void hand_to(Wakeable& owner);
  // Returns why an established link cannot be used: its server has closed it, or has sent data without a
  // request. The kernel is asked, so the result is current.
  [[nodiscard]] std::optional<Ending> broken_silence(Scratch& scratch);
  // Closes a link that was not taken, with close_notify if TLS is established.
  void close(Scratch& scratch);

  // Returns the stream, whose wake-ups go to the owner. May be called once.
  [[nodiscard]] std::unique_ptr<Stream> take_stream();
  // Returns the address that is being tried, or that was tried last.
  [[nodiscard]] const std::optional<ServerAddress>& server() const { return connector_.server(); }
  // Returns the results of the handshake; null for a plaintext upstream.
  [[nodiscard]] const std::shared_ptr<const tls::Established>& tls() const { return tls_; }
  [[nodiscard]] const Ending& failure() const { return failure_; }
  // Returns why the TLS handshake of the last attempt failed; nullptr: something else has failed.
  [[nodiscard]] const tls::FailureReport* tls_failure() const {
    return step_ == Step::failed && tls_stream_ ? &tls_stream_->failure() : nullptr;
  }
  // Returns one sentence for each failed attempt.
  [[nodiscard]] const std::string& report() const { return connector_.report(); }
  // Returns such a sentence for the current attempt.
  [[nodiscard]] std::string describe_attempt(const std::string& what) const {
    return connector_.describe_attempt(what);
  }

  // Returns, after take_stream() and as long as the login can be repeated with another server, how long the
  // server may take to reply before the next one is tried. 0: there is no other server.
  [[nodiscard]] std::chrono::milliseconds patience() const;
  // Continue with the next address (or the next host), as after a failed attempt; advance() must be called
  // again. Return false if there is none.
  [[nodiscard]] bool leave_address(Connector::Failed how, const std::string& what);
  [[nodiscard]] bool leave_host(const std::string& what);

  // Returns the ending if the time is over now: the result of every attempt, and what the last one was
  // waiting for. `owed`: what the server of an established link has not done yet.
  [[nodiscard]] Ending timed_out(std::string_view owed) const;
  // Returns the ending for a server that has closed the established connection before its first byte. `what` says how.
  [[nodiscard]] Ending hung_up(const std::string& what) const;

 private:
  enum class Step { connect, greet, shake_hands, done, failed };

  void wake() override { owner_->wake(); }
  [[nodiscard]] Step connect(Scratch& scratch);
  [[nodiscard]] Step greet(Scratch& scratch);
  [[nodiscard]] Step begin_tls();
  [[nodiscard]] Step shake_hands(Scratch& scratch);
  [[nodiscard]] Step finish();
  [[nodiscard]] Step next_address(Connector::Failed how, const std::string& what);
  [[nodiscard]] Step fail(Ending ending);
  [[nodiscard]] Step fail_at_server(Ending ending);
  void start_over();
  [[nodiscard]] std::chrono::milliseconds share() const;
  [[nodiscard]] std::string pending(std::string_view owed) const;
  [[nodiscard]] bool may_hang_up() const;
  [[nodiscard]] bool wants_tls() const;
  void note_failure(const Ending& ending) const;

  uv_loop_t* loop_;
  const std::shared_ptr<const Upstream> upstream_;
  std::shared_ptr<const tls::ClientContext> context_;
  const protocol::Bytes proxy_header_;
  Wakeable* owner_;
  // Whether the link tells of the upstream as a whole, and not of one server or of one user's certificate.
  const bool counts_for_status_;
  Connector connector_;
  Deadline connect_deadline_;  // for the current address
  protocol::UpstreamGreeting greeting_;
  HandshakeQueue::Slot slot_;
  std::unique_ptr<SocketStream> socket_;
  std::unique_ptr<TlsStream> tls_stream_;
  std::optional<KeepaliveTimes> usual_keepalive_;  // while watch_closely() is in effect
  SocketStream* watched_ = nullptr;                // socket_, also after tls_stream_ has taken it over
  std::shared_ptr<const tls::Established> tls_;
  Ending failure_;
  Step step_ = Step::connect;
  bool handshake_begun_ = false;
  const std::chrono::milliseconds until_;  // of time_now()
  unsigned timed_attempt_ = 0;             // the attempt that connect_deadline_ belongs to
};

}  // namespace pgveil::proxy
