#include "proxy/session/login_throttle.h"

#include <algorithm>

namespace pgveil::proxy {

bool LoginThrottle::take(const ClientNetwork& address, const Rate& rate, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  Entry& entry = use(address);
  const double capacity = rate.count;
  if (entry.refilled_at == Clock::time_point()) {
    entry.tokens = capacity;
  } else {
    const std::chrono::duration<double> passed = now - entry.refilled_at;
    const std::chrono::duration<double> interval = rate.interval;
    entry.tokens = std::min(capacity, entry.tokens + capacity * (passed / interval));
  }
  entry.refilled_at = now;
  if (entry.tokens < 1) return false;
  entry.tokens -= 1;
  return true;
}

LoginThrottle::Clock::time_point LoginThrottle::reserve(const ClientNetwork& address,
                                                        std::chrono::milliseconds delay,
                                                        Clock::time_point now, Clock::time_point latest) {
  const std::lock_guard lock(mutex_);
  Entry* entry = find(address);
  if (entry == nullptr || entry->next_login == Clock::time_point()) return now;
  const auto mine = std::max(now, entry->next_login);
  if (mine <= latest) entry->next_login = mine + delay;
  return mine;
}

void LoginThrottle::on_failed_login(const ClientNetwork& address, std::chrono::milliseconds delay,
                                    Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  Entry& entry = use(address);
  entry.next_login = std::max(entry.next_login, now + delay);
}

void LoginThrottle::on_login(const ClientNetwork& address) {
  const std::lock_guard lock(mutex_);
  if (Entry* entry = find(address)) entry->next_login = Clock::time_point();
}

std::size_t LoginThrottle::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

LoginThrottle::Entry* LoginThrottle::find(const ClientNetwork& address) {
  const auto found = by_address_.find(address);
  if (found == by_address_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &entries_.front();
}

LoginThrottle::Entry& LoginThrottle::use(const ClientNetwork& address) {
  if (Entry* found = find(address)) return *found;
  if (entries_.size() == kMaxAddresses) {
    by_address_.erase(entries_.back().address);
    entries_.pop_back();
  }
  entries_.push_front({.address = address});
  try {
    by_address_.emplace(address, entries_.begin());
  } catch (...) {
    entries_.pop_front();
    throw;
  }
  return entries_.front();
}

}  // namespace pgveil::proxy
