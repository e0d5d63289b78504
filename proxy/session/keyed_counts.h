// Counts by key, each with a maximum. A key without a count takes no memory. All functions may be called from any thread.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace pgveil::proxy {

template <class Key>
class KeyedCounts {
 public:
  // Adds one, unless the key has `max` already. If it returns false, release() must not be called.
  [[nodiscard]] bool acquire(const Key& key, std::size_t max) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(key);
    if (found == counts_.end()) return max > 0 && counts_.emplace(key, 1).second;
    if (found->second >= max) return false;
    ++found->second;
    return true;
  }
  void release(const Key& key) {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(key);
    if (--found->second == 0) counts_.erase(found);
  }
  // The number of keys with a count.
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return counts_.size();
  }

 private:
  mutable std::mutex mutex_;
  // An ordered map: clients choose the keys, so a hash table could be made slow.
  std::map<Key, std::size_t> counts_;
};

}  // namespace pgveil::proxy
