// Warns in the log, once a day, of certificates and CRLs that expire soon.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proxy/base/deadline.h"
#include "proxy/base/handle.h"
#include "tls/expiry.h"

namespace pgveil::proxy {

// Returns whether a warning is due: the rest of its life is shorter than `notice`, and than a third of its whole life.
// `now` is in seconds since 1970.
[[nodiscard]] bool expires_soon(const tls::Expiry& expiry, std::int64_t now, std::chrono::seconds notice);

class ExpiryWatch final : private Wakeable {
 public:
  explicit ExpiryWatch(uv_loop_t* loop) : next_look_(loop, *this) {}

  // Watches these from here on, in place of those before. Warns at once of those that expire soon, unless it has done so
  // within the last day. A notice of 0 means no warnings.
  void watch(std::vector<tls::Expiry> expiries, std::chrono::seconds notice);

 private:
  void wake() override { look(); }
  void look();

  Deadline next_look_;
  std::vector<tls::Expiry> expiries_;
  std::chrono::seconds notice_{0};
  std::map<std::string, std::int64_t> told_;  // the time of the last warning of each, in seconds since 1970
};

}  // namespace pgveil::proxy
