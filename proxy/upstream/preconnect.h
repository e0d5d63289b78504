// Connections to one upstream that are made before anybody asks: connected, through TLS and verified, with
// nothing of a session on them yet. Each is handed to one session and is that session's from then on.
#pragma once

#include <uv.h>

#include <cstdint>
#include <list>
#include <memory>

#include "proxy/base/deadline.h"
#include "proxy/upstream/preconnect_schedule.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

class Prewarm final : private Wakeable {
 public:
  // Keeps `wanted` of them from start() on. `scratch` and what `services` refers to must outlive it. `attempt_timeout`: for all that it takes to make one. `worker`: for the log.
  Prewarm(const LinkServices& services, Scratch& scratch, std::shared_ptr<const Upstream> upstream,
          std::size_t wanted, std::chrono::milliseconds attempt_timeout, unsigned worker);
  // Closes those that are left, and says in the log what became of them all.
  ~Prewarm();
  Prewarm(const Prewarm&) = delete;
  Prewarm& operator=(const Prewarm&) = delete;

  void start() { wake(); }
  // An established link whose server has said nothing yet, with its wake-ups going to `owner`; null where
  // none is ready. It is replaced at once.
  [[nodiscard]] std::unique_ptr<UpstreamLink> take(Wakeable& owner);
  // Closes those that lead to `server`, since one of them was of no use: for the rest of an outage there are
  // none, and each session makes its own.
  void distrust(const ServerAddress& server, const Ending& why);

 private:
  using Time = PrewarmSchedule::Time;
  struct Entry {
    std::unique_ptr<UpstreamLink> link;
    Time since;  // when it was dialled; once it is ready, when it became so
    bool is_ready = false;
    bool is_probe = false;
  };
  using Entries = std::list<Entry>;

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
  PrewarmSchedule schedule_;
  Entries entries_;             // in the order of their dialling
  Handle<uv_idle_t> advancer_;  // callbacks only note: links are destroyed off their stacks
  Deadline alarm_;

  // For the log.
  std::uint64_t made_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t missed_ = 0;   // sessions that found none ready
  std::uint64_t renewed_ = 0;  // closed because of their age
  std::uint64_t failed_ = 0;   // attempts that failed, and those that the server closed
};

}  // namespace pgveil::proxy
