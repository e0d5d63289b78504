// Warns in the log, once a day, of certificates and CRLs that expire soon: those in files, and those that servers have shown.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "proxy/snapshot/expiries.h"
#include "tls/expiry.h"

namespace pgveil::proxy {

class ExpiryWatch final : private Wakeable {
 public:
  // Returns the certificates that servers have shown last.
  using OfServers = std::function<std::vector<ServerExpiry>()>;
  // Returns the time in seconds since 1970.
  using Clock = std::function<std::int64_t()>;
  ExpiryWatch(uv_loop_t* loop, OfServers of_servers, Clock clock)
      : next_look_(loop, *this), of_servers_(std::move(of_servers)), clock_(std::move(clock)) {}

  // Watches these from here on, in place of those before. Warns at once of those that expire soon, unless it has done so
  // within the last day, and looks again every hour. A notice of 0 means no warnings.
  void watch(std::vector<tls::Expiry> expiries, std::chrono::seconds notice);
  void look();

 private:
  void wake() override { look(); }
  void warn_once(const tls::Expiry& expiry, const std::string& upstream, std::int64_t now);

  Deadline next_look_;
  const OfServers of_servers_;
  const Clock clock_;
  std::vector<tls::Expiry> expiries_;
  std::chrono::seconds notice_{0};
  std::map<std::string, std::int64_t> told_;  // the time of the last warning of each, in seconds since 1970
};

}  // namespace pgveil::proxy
