// Limits the logins of each client address: a rate for all logins, and a delay after a failed one. The number of
// addresses that it remembers is bounded: a flood of addresses makes it forget the one that was not used for the longest
// time. All functions may be called from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <mutex>

#include "proxy/base/client_network.h"
#include "proxy/config/config.h"

namespace pgveil::proxy {

class LoginThrottle {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMaxAddresses = 8192;

  // Takes one login from the token bucket of the address, which holds `rate.count` tokens when it is full. Returns false if
  // it is empty.
  [[nodiscard]] bool take(const ClientNetwork& address, const Rate& rate, Clock::time_point now);

  // Returns the time at which the next login of the address may begin; not after `now`: at once. After a failed login,
  // logins begin one after the other with `delay` between them, until one succeeds. Each call reserves a time, unless
  // that time would be after `latest`.
  [[nodiscard]] Clock::time_point reserve(const ClientNetwork& address, std::chrono::milliseconds delay,
                                          Clock::time_point now, Clock::time_point latest);
  void on_failed_login(const ClientNetwork& address, std::chrono::milliseconds delay, Clock::time_point now);
  void on_login(const ClientNetwork& address);

  // The number of addresses that it remembers.
  [[nodiscard]] std::size_t size() const;

 private:
  struct Entry {
    ClientNetwork address;
    double tokens = 0;
    Clock::time_point refilled_at{};  // the epoch: the bucket is full
    Clock::time_point next_login{};   // the epoch: at once
  };
  [[nodiscard]] Entry& use(const ClientNetwork& address);
  [[nodiscard]] Entry* find(const ClientNetwork& address);

  mutable std::mutex mutex_;  // protects the next two fields
  std::list<Entry> entries_;  // the one that was used last is the first
  // An ordered map: clients choose the keys, so a hash table could be made slow.
  std::map<ClientNetwork, std::list<Entry>::iterator> by_address_;
};

}  // namespace pgveil::proxy
