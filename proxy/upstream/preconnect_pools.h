// The connections of a worker that were made ahead, by the upstream that they lead to.
#pragma once

#include <memory>
#include <unordered_map>

#include "proxy/upstream/preconnect.h"

namespace pgveil::proxy {

class PreconnectPools {
 public:
  // Starts `pool`, in place of the one that `upstream` may have had.
  void start(std::shared_ptr<const Upstream> upstream, std::unique_ptr<Prewarm> pool);
  // Closes every connection that no session has.
  void clear() { pools_.clear(); }

  // Returns a connection to `upstream`, for `owner` alone; null: there is none.
  [[nodiscard]] std::unique_ptr<UpstreamLink> take(const std::shared_ptr<const Upstream>& upstream,
                                                   Wakeable& owner);
  // A connection of theirs to `server` was of no use, and `why` says so: the others to it are closed.
  void distrust(const std::shared_ptr<const Upstream>& upstream, const ServerAddress& server,
                const Ending& why);

 private:
  std::unordered_map<std::shared_ptr<const Upstream>, std::unique_ptr<Prewarm>> pools_;
};

}  // namespace pgveil::proxy
