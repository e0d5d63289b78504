#include "proxy/session/handshake_counts.h"

#include <new>

namespace pgveil::proxy {

void HandshakeCounts::add(const tls::Established& established) noexcept {
  try {
    Kind kind{.version = established.version,
              .cipher = established.cipher,
              .group = established.group,
              .is_post_quantum = established.post_quantum};
    const std::lock_guard lock(mutex_);
    if (counts_.size() >= kMaxKinds && !counts_.contains(kind))
      kind = {.version = "other", .cipher = "other", .group = "other"};
    ++counts_[kind];
  } catch (const std::bad_alloc&) {
    return;
  }
}

void HandshakeCounts::add_to(Counts& sum) const {
  Counts copy;
  {
    const std::lock_guard lock(mutex_);
    copy = counts_;
  }
  for (const auto& [kind, count] : copy) sum[kind] += count;
}

}  // namespace pgveil::proxy
