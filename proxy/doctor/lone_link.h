// A link to a server on an event loop of its own, for a command that does one thing at a time: each call runs the loop until it
// has its result.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "protocol/bytes.h"
#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/net/handshake_queue.h"
#include "proxy/net/stream.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

class LoneLink final : private Wakeable {
 public:
  using Time = std::chrono::milliseconds;
  using Clock = std::chrono::steady_clock;

  // Connects as a session does. `first_bytes` are sent first on each connection; `budget` is the time for all addresses.
  LoneLink(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes, Time budget);

  // Returns the failure, if any.
  [[nodiscard]] std::optional<Ending> connect();
  // Waits whether the server ends the established connection within this time. Returns how, if it does.
  [[nodiscard]] std::optional<Ending> await_rejection(Time time);
  // Returns the results of the handshake; null without TLS.
  [[nodiscard]] std::shared_ptr<const tls::Established> tls() const { return tls_; }

  // Bytes that were received, and nothing at the end of the server's side. The error is a text.
  using Received = tl::expected<protocol::Bytes, std::string>;
  // Send and receive on the established connection. After `deadline` nothing is received, even if the server still sends.
  void send(protocol::ByteView bytes);
  [[nodiscard]] Received receive(Clock::time_point deadline);
  // Returns what has arrived already; nullopt: nothing.
  [[nodiscard]] std::optional<Received> receive_arrived();
  // The loop, for other objects whose callbacks wait() runs.
  [[nodiscard]] uv_loop_t* loop() { return loop_.get(); }
  // Runs the loop until something has happened. Returns false if `deadline` has passed.
  [[nodiscard]] bool wait(Clock::time_point deadline);
  // Ends the connection in the regular way, if it is established.
  void close();

 private:
  void wake() override {}
  [[nodiscard]] Stream& stream();

  Loop loop_;
  Scratch scratch_;
  Resolver resolver_{loop_.get()};
  HandshakeQueue queue_{loop_.get()};
  Deadline alarm_;
  std::shared_ptr<const tls::Established> tls_;
  UpstreamLink link_;
  std::unique_ptr<Stream> stream_;  // taken from link_
};

}  // namespace pgveil::proxy
