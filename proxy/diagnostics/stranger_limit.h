// Limits the rate of audit records of strangers: clients that were not admitted and have no verified identity. A port scan
// or an attack would fill the disk with them otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// May be used by any thread.
class StrangerLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Another rate than before begins a new interval.
  void set_rate(Rate rate);
  enum class Answer {
    write,       // the record may be written
    omit,        // it is counted instead
    omit_first,  // as `omit`, and no other one is counted
  };
  [[nodiscard]] Answer ask(Time now);
  // Returns the number of records that were counted, and begins to count at 0.
  [[nodiscard]] std::uint64_t take_omitted();
  // Counts records again that were taken.
  void give_back(std::uint64_t omitted);

 private:
  std::mutex mutex_;
  Rate rate_;
  Time interval_began_;
  unsigned written_ = 0;  // in this interval
  std::uint64_t omitted_ = 0;
};

}  // namespace pgveil::proxy
