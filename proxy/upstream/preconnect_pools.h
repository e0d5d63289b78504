// The pre-established connections of a worker, one pool for each upstream.
#pragma once

#include <memory>
#include <unordered_map>

#include "proxy/upstream/preconnect.h"

namespace pgveil::proxy {

class PreconnectPools {
 public:
  // Starts `pool`, and replaces the earlier pool of `upstream`, if any.
  void start(std::shared_ptr<const Upstream> upstream, std::unique_ptr<PreconnectPool> pool);
  // Closes every connection that is not owned by a session.
  void clear() { pools_.clear(); }

  // Returns a connection to `upstream`, which `owner` then owns; null: there is none.
  [[nodiscard]] std::unique_ptr<UpstreamLink> take(const std::shared_ptr<const Upstream>& upstream,
                                                   Wakeable& owner);
  // Closes the other connections to `server`, after a connection from the pool was unusable because of `why`.
  void distrust(const std::shared_ptr<const Upstream>& upstream, const ServerAddress& server,
                const Ending& why);

 private:
  std::unordered_map<std::shared_ptr<const Upstream>, std::unique_ptr<PreconnectPool>> pools_;
};

}  // namespace pgveil::proxy
