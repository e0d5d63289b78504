// Connections to one upstream that are made before a session needs them: connected, with TLS and verified. No
// session has used them. Each is given to one session and is then owned by that session.
#pragma once

#include <uv.h>

#include <cstdint>
#include <list>
#include <memory>

#include "proxy/base/deadline.h"
#include "proxy/upstream/preconnect_schedule.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

class PreconnectPool final : private Wakeable {
 public:
  // Keeps `wanted` connections from start() on. `scratch` and the objects in `services` must outlive this
  // object. `attempt_timeout`: the time limit for making one connection. `worker`: its number for the log.
  PreconnectPool(const LinkServices& services, Scratch& scratch, std::shared_ptr<const Upstream> upstream,
                 std::size_t wanted, std::chrono::milliseconds attempt_timeout, unsigned worker);
  // Closes the remaining connections, and logs how all connections were used.
  ~PreconnectPool();
  PreconnectPool(const PreconnectPool&) = delete;
  PreconnectPool& operator=(const PreconnectPool&) = delete;

  void start() { wake(); }
  // Returns an established link whose server has sent nothing, with its wake-ups set to `owner`; null if none
  // is ready. A new connection replaces it immediately.
  [[nodiscard]] std::unique_ptr<UpstreamLink> take(Wakeable& owner);
  // Closes the connections to `server`, after one of them was unusable. During the rest of an outage there
  // are no pre-established connections, and each session makes its own.
  void distrust(const ServerAddress& server, const Ending& why);

 private:
  using Time = PreconnectSchedule::Time;
  struct Entry {
    std::unique_ptr<UpstreamLink> link;
    Time since;  // when it was dialled; after is_ready, when it became ready
    bool is_ready = false;
    bool is_probe = false;
  };
  using Entries = std::list<Entry>;

  using Counts = UpstreamStatus::Preconnects;

  void count(std::uint64_t Counts::*what);
  void wake() override;
  void advance_or_wait();
  void advance();
  [[nodiscard]] bool advance(Entry& entry);
  void renew();
  void dial();
  void fail(const Entry& entry, const Ending& ending);
  void set_alarm();
  [[nodiscard]] bool is_overdue(const Entry& entry) const;
  [[nodiscard]] Time now() const { return time_now(); }

  uv_loop_t* loop_;
  Scratch& scratch_;
  const LinkServices services_;
  const std::shared_ptr<const Upstream> upstream_;
  const std::size_t wanted_;
  const Time attempt_timeout_;
  const unsigned worker_;
  PreconnectSchedule schedule_;
  Entries entries_;             // in the order in which they were dialled
  Handle<uv_idle_t> advancer_;  // callbacks only set it: a link must not be destroyed in its own callback
  Deadline alarm_;

  Counts counts_;  // for the log
};

}  // namespace pgveil::proxy
