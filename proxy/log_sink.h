// Where log lines end up: a descriptor, behind a thread that writes many lines with one call. To the thread
// that logs, a line costs its formatting; spdlog's own queue costs it a wake-up of the writer, and a write,
// each time.
#pragma once

#include <spdlog/formatter.h>
#include <spdlog/sinks/sink.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace pgveil::proxy {

class LogSink final : public spdlog::sinks::sink {
 public:
  // What happens to a line for which there is no room, as the reader is slow or gone.
  enum class WhenFull {
    drop_oldest,  // nobody ever waits
    wait,         // no line is lost
  };
  enum class Loss { dropped, unwritable };
  // Called by the thread that writes: so many lines are gone.
  using OnLoss = std::function<void(Loss loss, std::uint64_t lines, const std::string& why)>;

  static constexpr std::size_t kMostBytes = std::size_t{4} << 20U;
  // The first line waits so long for others.
  static constexpr std::chrono::milliseconds kGathering{5};

  // The descriptor stays the caller's and must outlive the sink.
  LogSink(int descriptor, WhenFull when_full, OnLoss on_loss);
  ~LogSink() override { stop(); }
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  // Writes out what there is, what `on_loss` still says included; what is logged later is not written. To be
  // called before the logger goes that `on_loss` logs to.
  void stop();

  void log(const spdlog::details::log_msg& message) override;
  void flush() override {}  // the thread is at it already
  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

 private:
  void run();
  void drop_oldest();
  void write_out(std::string_view batch) const;

  const int descriptor_;
  const WhenFull when_full_;
  const OnLoss on_loss_;
  std::mutex mutex_;  // for all below
  std::condition_variable has_work_;
  std::condition_variable has_room_;
  std::unique_ptr<spdlog::formatter> formatter_;
  std::string lines_;          // not yet taken by the thread
  std::uint64_t dropped_ = 0;  // lines, not yet told
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace pgveil::proxy
