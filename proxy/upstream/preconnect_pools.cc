#include "proxy/upstream/preconnect_pools.h"

#include <utility>

namespace pgveil::proxy {

void PreconnectPools::start(std::shared_ptr<const Upstream> upstream, std::unique_ptr<PreconnectPool> pool) {
  auto& kept = pools_[std::move(upstream)];
  kept = std::move(pool);
  kept->start();
}

std::unique_ptr<UpstreamLink> PreconnectPools::take(const std::shared_ptr<const Upstream>& upstream,
                                                    Wakeable& owner) {
  const auto pool = pools_.find(upstream);
  return pool == pools_.end() ? nullptr : pool->second->take(owner);
}

void PreconnectPools::distrust(const std::shared_ptr<const Upstream>& upstream, const ServerAddress& server,
                               const Ending& why) {
  const auto pool = pools_.find(upstream);
  if (pool != pools_.end()) pool->second->distrust(server, why);
}

}  // namespace pgveil::proxy
