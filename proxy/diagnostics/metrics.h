// Counters that one thread changes and any thread reads. They need no locked instruction.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pgveil::proxy {

class Counter {
 public:
  // Must be called by one thread only.
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// A number that goes up and down.
class Gauge {
 public:
  // Must be called by one thread only.
  void add(std::int64_t difference) {
    value_.store(value_.load(std::memory_order_relaxed) + difference, std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// How many durations were how long, as a histogram of Prometheus.
class DurationHistogram {
 public:
  using Duration = std::chrono::steady_clock::duration;
  static constexpr std::size_t kMaxBounds = 16;
  using Bound = std::chrono::nanoseconds::rep;
  // Upper bounds of the buckets, in nanoseconds: for steps of a login, and for whole sessions.
  static constexpr std::array<Bound, 15> kOfSteps{500'000,       1'000'000,      2'500'000,     5'000'000,
                                                  10'000'000,    25'000'000,     50'000'000,    100'000'000,
                                                  250'000'000,   500'000'000,    1'000'000'000, 2'500'000'000,
                                                  5'000'000'000, 10'000'000'000, 30'000'000'000};
  static constexpr std::array<Bound, 9> kOfSessions{
      100'000'000,       1'000'000'000,     10'000'000'000,     60'000'000'000,    300'000'000'000,
      1'800'000'000'000, 3'600'000'000'000, 21'600'000'000'000, 86'400'000'000'000};

  // Returns a bound in seconds.
  [[nodiscard]] static double seconds(Bound nanoseconds) { return static_cast<double>(nanoseconds) / 1e9; }

  // `bounds` are at most kMaxBounds, and outlive the histogram.
  explicit DurationHistogram(std::span<const Bound> bounds = kOfSteps) : bounds_(bounds) {}

  // Must be called by one thread only.
  void add(Duration duration);

  // The sum of several histograms with the same bounds.
  struct Sum {
    std::span<const Bound> bounds;
    std::array<std::uint64_t, kMaxBounds + 1>
        counts{};  // of each bucket alone; after the last bound: of longer ones
    double seconds = 0;
  };
  void add_to(Sum& sum) const;

 private:
  std::span<const Bound> bounds_;
  std::array<Counter, kMaxBounds + 1> counts_;
  Counter nanoseconds_;
};

}  // namespace pgveil::proxy
