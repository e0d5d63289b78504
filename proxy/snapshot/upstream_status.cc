#include "proxy/snapshot/upstream_status.h"

#include <utility>

#include "proxy/base/deadline.h"

namespace pgveil::proxy {

void UpstreamStatus::note_connected(const KernelAddress& server,
                                    std::shared_ptr<const tls::Established> tls) {
  const Time now = time_now();
  const std::lock_guard lock(mutex_);
  values_.connected = now;
  values_.connected_at = std::chrono::system_clock::now();
  values_.server = server;
  values_.tls.swap(tls);  // the earlier one is destroyed after the lock
  values_.has_failed = false;
}

void UpstreamStatus::note_failed(std::string problem) {
  const Time now = time_now();
  const std::lock_guard lock(mutex_);
  values_.failed = now;
  values_.failed_at = std::chrono::system_clock::now();
  values_.problem.swap(problem);
  values_.has_failed = true;
}

void UpstreamStatus::take_over(const UpstreamStatus& earlier, bool keeps_values) {
  const std::scoped_lock lock(mutex_, earlier.mutex_);
  preconnects_ = earlier.preconnects_;
  is_outage_ = earlier.is_outage_;
  if (keeps_values) values_ = earlier.values_;
}

bool UpstreamStatus::set_outage(bool is_outage) {
  const std::lock_guard lock(mutex_);
  return std::exchange(is_outage_, is_outage) != is_outage;
}

void UpstreamStatus::count(std::uint64_t Preconnects::*what) {
  const std::lock_guard lock(mutex_);
  ++(preconnects_.*what);
}

UpstreamStatus::Preconnects UpstreamStatus::preconnects() const {
  const std::lock_guard lock(mutex_);
  return preconnects_;
}

UpstreamStatus::Values UpstreamStatus::values() const {
  const std::lock_guard lock(mutex_);
  return values_;
}

}  // namespace pgveil::proxy
