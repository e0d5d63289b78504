// A pass over the established sessions of a worker after a reload: those that the new snapshot does not admit end.
#pragma once

#include <uv.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "proxy/base/handle.h"
#include "proxy/session/session.h"

namespace pgveil::proxy {

struct RevalidationPass {
  std::shared_ptr<const Snapshot> snapshot;
  std::optional<std::vector<SessionId>> left;  // nullopt: not collected yet
  std::vector<SessionId> first;                // checked first: an interrupted pass has not checked them
  ChainVerdicts verdicts;
  std::size_t admitted = 0;
  std::size_t ended = 0;
  std::size_t without_data = 0;
};

class Revalidation final {
 public:
  using Sessions = std::unordered_map<SessionId, std::unique_ptr<Session>>;

  // `sessions` must outlive the object. `worker` is its number, for the log.
  Revalidation(uv_loop_t* loop, const Sessions& sessions, unsigned worker);
  Revalidation(const Revalidation&) = delete;
  Revalidation& operator=(const Revalidation&) = delete;

  // Checks the sessions that exist now, a few in each turn of the loop. Replaces a pass that is not complete. Does
  // nothing if reload.sessions of `snapshot` is "keep".
  void begin(std::shared_ptr<const Snapshot> snapshot);
  void stop();

 private:
  void turn();
  [[nodiscard]] bool check_some(RevalidationPass& pass);
  void check_next(RevalidationPass& pass);
  void log(const RevalidationPass& pass) const;

  const Sessions& sessions_;
  const unsigned worker_;
  Handle<uv_idle_t> idle_;
  std::optional<RevalidationPass> pass_;  // nullopt: no pass is running
};

}  // namespace pgveil::proxy
