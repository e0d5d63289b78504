#include "proxy/doctor/session_attempt.h"

#include <chrono>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/net/handshake_queue.h"
#include "proxy/net/stream.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kReadBytes = 65'536;

// A link on a loop of its own, which runs until the link has an end.
class LoneLink final : private Wakeable {
 public:
  LoneLink(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
           std::chrono::milliseconds budget)
      : alarm_(loop_.get(), *this),
        link_({loop_.get(), queue_, resolver_}, upstream, upstream->tls, static_cast<Wakeable&>(*this),
              budget, Course{}, first_bytes) {
    alarm_.set(budget);
  }

  // Returns the failure, if any.
  [[nodiscard]] std::optional<Ending> connect() {
    for (;;) {
      switch (link_.advance(scratch_)) {
        case UpstreamLink::State::established: return std::nullopt;
        case UpstreamLink::State::failed: return link_.failure();
        case UpstreamLink::State::connecting:
        case UpstreamLink::State::verifying: break;
      }
      if (alarm_.passed()) return link_.timed_out("take the connection");
      uv_run(loop_.get(), UV_RUN_ONCE);
    }
  }

  // Waits for the server to reject the connection after the handshake.
  [[nodiscard]] std::optional<Ending> await_rejection(std::chrono::milliseconds time) {
    alarm_.set(time);
    while (!alarm_.passed()) {
      if (auto ending = link_.broken_silence(scratch_)) return ending;
      uv_run(loop_.get(), UV_RUN_ONCE);
    }
    return std::nullopt;
  }

  [[nodiscard]] std::shared_ptr<const tls::Established> tls() const { return link_.tls(); }
  void close() { link_.close(scratch_); }

 private:
  void wake() override {}

  Loop loop_;
  Scratch scratch_{kReadBytes};
  Resolver resolver_{loop_.get()};
  HandshakeQueue queue_{loop_.get()};
  Deadline alarm_;
  UpstreamLink link_;
};

}  // namespace

SessionAttempt attempt_session(const std::shared_ptr<const Upstream>& upstream,
                               const protocol::Bytes& first_bytes, std::chrono::milliseconds budget,
                               std::chrono::milliseconds rejection_time) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  LoneLink link(upstream, first_bytes, budget);
  SessionAttempt attempt;
  attempt.failure = link.connect();
  attempt.duration = std::chrono::duration_cast<StepDuration>(Clock::now() - begin);
  if (attempt.failure) return attempt;
  attempt.tls = link.tls();
  if (rejection_time.count() > 0) attempt.failure = link.await_rejection(rejection_time);
  link.close();
  return attempt;
}

}  // namespace pgveil::proxy
