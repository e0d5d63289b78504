// One verified connection to a server: connect, greeting, TLS handshake. What comes out may carry a client's
// bytes; before that none may, and nothing that the server says is shown to anyone.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/upstream_greeting.h"
#include "proxy/base/deadline.h"
#include "proxy/net/handshake_queue.h"
#include "proxy/net/tls_stream.h"
#include "proxy/snapshot/snapshot.h"
#include "proxy/upstream/connector.h"

namespace pgveil::proxy {

// What links of a loop have in common.
struct LinkServices {
  uv_loop_t* loop;
  HandshakeTurns& turns;
  Resolver& resolver;
};

class UpstreamLink final : private Wakeable {
 public:
  enum class State {
    connecting,   // resolving, connecting, and the answer to SSLRequest
    verifying,    // TLS handshake: chain, name, CRL
    established,  // take_stream() may be called
    failed,       // failure() says why
  };

  // What `services` refers to and `owner` must outlive the link. `tls`: of the upstream, or with another
  // client certificate. `budget`: the time for all attempts together. As long as others follow, an
  // attempt gets no more than its share of what is left of it, and no more than connect_timeout in any case.
  UpstreamLink(const LinkServices& services, std::shared_ptr<const Upstream> upstream,
               std::shared_ptr<const tls::ClientContext> tls, Wakeable& owner,
               std::chrono::milliseconds budget, Course course = {});

  [[nodiscard]] State advance(Scratch& scratch);

  // Of an established link that waits for a session: notices within seconds if its host is gone without a
  // word, by keepalives, unless those are turned off.
  void watch_closely();
  // Has further wake-ups go to another owner, as when an established link goes over to a session.
  void hand_to(Wakeable& owner);
  // Of an established link: how its server has ended, or has spoken before it was asked anything. Asks the
  // kernel, so that the answer is of now.
  [[nodiscard]] std::optional<Ending> broken_silence(Scratch& scratch);
  // Ends what nobody took, with TLS's own farewell where it got so far.
  void close(Scratch& scratch);

  // The stream, whose wake-ups go to the owner. Once.
  [[nodiscard]] std::unique_ptr<Stream> take_stream();
  // The address that is being tried, or that was tried last.
  [[nodiscard]] const std::optional<ServerAddress>& server() const { return connector_.server(); }
  // What the handshake agreed on; null for a plaintext upstream.
  [[nodiscard]] const std::shared_ptr<const tls::Established>& tls() const { return tls_; }
  [[nodiscard]] const Ending& failure() const { return failure_; }
  // A sentence for each attempt that failed.
  [[nodiscard]] const std::string& report() const { return connector_.report(); }
  // Such a sentence, about the attempt under way.
  [[nodiscard]] std::string describe_attempt(const std::string& what) const {
    return connector_.describe_attempt(what);
  }

  // After take_stream(), as long as the login can begin anew elsewhere: how long the server may take to
  // answer before another one is tried. 0: there is no other.
  [[nodiscard]] std::chrono::milliseconds patience() const;
  // Goes on with the next address (or the next host), as after a failed attempt: from then on, advance().
  // False: there is none.
  [[nodiscard]] bool leave_address(Connector::Failed how, const std::string& what);
  [[nodiscard]] bool leave_host(const std::string& what);

  // How it ends if the time is over now: what every attempt ended with, and what the last one was waiting
  // for. `owed`: what the server of an established link has yet to do.
  [[nodiscard]] Ending timed_out(std::string_view owed) const;

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

  uv_loop_t* loop_;
  const std::shared_ptr<const Upstream> upstream_;
  std::shared_ptr<const tls::ClientContext> context_;
  Wakeable* owner_;
  Connector connector_;
  Deadline connect_deadline_;  // of the address under way
  protocol::UpstreamGreeting greeting_;
  HandshakeTurns::Place turn_;
  std::unique_ptr<SocketStream> socket_;
  std::unique_ptr<TlsStream> tls_stream_;
  std::optional<KeepaliveTimes> usual_keepalive_;  // while it is watched closely
  SocketStream* watched_ = nullptr;                // socket_, also once it is below tls_stream_
  std::shared_ptr<const tls::Established> tls_;
  Ending failure_;
  Step step_ = Step::connect;
  bool handshake_begun_ = false;
  const std::uint64_t until_;   // the loop's time, in milliseconds
  unsigned timed_attempt_ = 0;  // the one that connect_deadline_ is for
};

}  // namespace pgveil::proxy
