// Connects to an upstream from time to time while nothing else does, so that the admin address tells whether it can be
// reached and verified. The connection is closed before its StartupMessage, which PostgreSQL does not log.
#pragma once

#include <uv.h>

#include <chrono>
#include <memory>
#include <optional>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

class UpstreamCheck final : private Wakeable {
 public:
  using Time = std::chrono::milliseconds;

  // Checks `upstream` at start(), and then if its last connection, or the last attempt, is older than `interval`. The result
  // is in the status of the upstream; a change for the worse or the better is logged. `scratch` and the objects in `services`
  // must outlive the check. `attempt_timeout`: the time limit of one attempt.
  UpstreamCheck(const LinkServices& services, Scratch& scratch, std::shared_ptr<const Upstream> upstream,
                Time interval, Time attempt_timeout);
  // Closes the connection of a check that is under way.
  ~UpstreamCheck();
  UpstreamCheck(const UpstreamCheck&) = delete;
  UpstreamCheck& operator=(const UpstreamCheck&) = delete;

  void start() { wake(); }

 private:
  void wake() override;
  void advance_or_wait();
  void advance();
  void dial();
  void end(const Ending* failure);
  [[nodiscard]] Time until_next() const;
  void look_for_recovery();
  void log_change(const Ending* failure) const;

  uv_loop_t* loop_;
  Scratch& scratch_;
  const LinkServices services_;
  const std::shared_ptr<const Upstream> upstream_;
  const Time interval_;
  const Time attempt_timeout_;
  std::unique_ptr<UpstreamLink> link_;  // null: no check is under way
  Time began_{0};                       // when link_ was dialled
  std::optional<Time> last_check_;      // when the last check ended
  Handle<uv_idle_t> advancer_;  // callbacks only set it: a link must not be destroyed in its own callback
  Deadline alarm_;
};

}  // namespace pgveil::proxy
