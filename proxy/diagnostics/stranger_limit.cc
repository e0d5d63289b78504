#include "proxy/diagnostics/stranger_limit.h"

#include <utility>

namespace pgveil::proxy {

void StrangerLimit::set_rate(Rate rate) {
  const std::lock_guard lock(mutex_);
  if (rate != rate_) written_ = 0;
  rate_ = rate;
}

StrangerLimit::Answer StrangerLimit::ask(Time now) {
  const std::lock_guard lock(mutex_);
  if (rate_.count == 0) return Answer::write;
  if (written_ == 0 || now - interval_began_ >= rate_.interval) {
    interval_began_ = now;
    written_ = 0;
  }
  if (written_ < rate_.count) {
    ++written_;
    return Answer::write;
  }
  return ++omitted_ == 1 ? Answer::omit_first : Answer::omit;
}

std::uint64_t StrangerLimit::take_omitted() {
  const std::lock_guard lock(mutex_);
  return std::exchange(omitted_, 0);
}

void StrangerLimit::give_back(std::uint64_t omitted) {
  const std::lock_guard lock(mutex_);
  omitted_ += omitted;
}

}  // namespace pgveil::proxy
