// Writes log lines to an output, in a thread that writes many lines with one call. The thread that logs only formats
// its line. With spdlog's own queue, each line would cost a wake-up of the writer and a write.
#pragma once

#include <spdlog/formatter.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/sink.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "proxy/diagnostics/log_output.h"

namespace pgveil::proxy {

// The pattern of spdlog for a line of JSON: the time, and the fields of the message.
inline constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})";

class LogWriter final : public spdlog::sinks::sink {
 public:
  // What happens if the queue is full, because the reader is slow or gone, or if lines cannot be written, for example
  // because the disk is full. log() never waits.
  enum class WhenFull {
    drop_oldest,  // the oldest lines are lost, and those that cannot be written
    // The queue grows, and lines are written once that is possible again, at the latest by stop(). The caller checks
    // has_room() before it begins an action that needs a line.
    keep,
  };
  enum class Loss {
    dropped,     // lost, because the queue was full
    unwritable,  // lost, because they could not be written
    delayed,     // not lost: they cannot be written now, and wait
  };
  // The thread that writes calls it with the number of lines; with `delayed` once until lines are written again.
  using OnLoss = std::function<void(Loss loss, std::uint64_t lines, const std::string& why)>;

  // The beginning of each line, and the state of the file.
  struct Format {
    // "<6>" and the like before each line: the priority, as in sd-daemon(3) and RFC 5424. It has this facility of
    // syslog(3); nullopt: there is no prefix.
    std::optional<unsigned> priority_facility = std::nullopt;
    bool begins_inside_line = false;  // the last line of the file is not complete
    // Counts each lost line at once, while OnLoss is called only once the reader takes lines again. Null: nothing does.
    std::atomic<std::uint64_t>* lost_lines = nullptr;
  };
  // The time for which stop() waits for the reader.
  struct Patience {
    std::chrono::milliseconds without_progress{500};
    std::chrono::milliseconds in_total{3'000};
  };

  static constexpr std::size_t kMaxBytes = std::size_t{4} << 20U;
  // The time that the first line in the queue waits for further lines.
  static constexpr std::chrono::milliseconds kGathering{5};
  // The time between two attempts to write lines that are kept.
  static constexpr std::chrono::milliseconds kRetryPause{100};

  // Throw std::system_error if the system has no thread for it. The caller keeps a descriptor, which must outlive the
  // writer.
  LogWriter(int descriptor, WhenFull when_full, OnLoss on_loss)
      : LogWriter(descriptor, when_full, std::move(on_loss), Format{}) {}
  LogWriter(int descriptor, WhenFull when_full, OnLoss on_loss, Format format)
      : LogWriter(std::make_unique<DescriptorOutput>(descriptor), when_full, std::move(on_loss), format) {}
  LogWriter(std::unique_ptr<LogOutput> output, WhenFull when_full, OnLoss on_loss, Format format);
  ~LogWriter() override { static_cast<void>(stop(Patience{})); }
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Writes the queued lines, and those that `on_loss` logs, as long as the reader takes them. Lines that are logged later
  // are not written. Must be called while the logger that `on_loss` uses exists. Returns false if the thread hangs in a
  // system call that no signal interrupts: the process must then end without destructors.
  [[nodiscard]] bool stop(Patience patience);

  // Returns whether the queue holds less than `times` times kMaxBytes. May be called by any thread.
  [[nodiscard]] bool has_room(std::size_t times = 1) const {
    return queued_.load(std::memory_order_relaxed) < times * kMaxBytes;
  }
  // Returns whether lines wait because they cannot be written. May be called by any thread.
  [[nodiscard]] bool is_failing() const { return is_failing_.load(std::memory_order_relaxed); }
  // May be called by any thread.
  void set_when_full(WhenFull when_full) { when_full_ = when_full; }
  // Counts a line that was not logged.
  void count_lost_line();

  void log(const spdlog::details::log_msg& message) override;
  void flush() override {}  // the thread writes all lines anyway
  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

 private:
  void run();
  void write_lines();
  void drop_oldest();
  void note_lost(std::uint64_t lines);
  void write_out(std::string_view batch);
  [[nodiscard]] bool write_all(std::string_view batch, std::string_view& rest);
  [[nodiscard]] bool write_piece(std::string_view& rest);
  void begin_cut_line_again(std::string_view batch, std::string_view& rest);
  [[nodiscard]] bool waits_to_retry(std::string_view rest, int error);
  void skip_line(std::string_view& rest);
  void lose(std::string_view lines, const char* why);
  void tell_loss(Loss loss, std::uint64_t lines, const char* why) const;
  [[nodiscard]] bool interrupt_thread(std::unique_lock<std::mutex>& lock);

  const std::unique_ptr<LogOutput> output_;
  std::atomic<WhenFull> when_full_;
  const OnLoss on_loss_;
  const std::optional<unsigned> priority_facility_;
  std::atomic<std::uint64_t>* const lost_lines_;
  bool inside_line_;                      // used by the thread: the last byte written was not a line feed
  std::atomic<std::size_t> queued_{0};    // bytes of lines_ and of the batch that is being written
  std::atomic<std::uint64_t> pieces_{0};  // the number of successful writes
  std::atomic<bool> given_up_{false};
  std::atomic<bool> is_failing_{false};
  std::mutex mutex_;  // for all members below
  std::condition_variable has_work_;
  std::condition_variable has_ended_;
  std::unique_ptr<spdlog::formatter> formatter_;
  std::string lines_;          // not yet taken by the thread
  std::uint64_t dropped_ = 0;  // the number of lost lines that on_loss_ has not been called for
  bool stopping_ = false;
  bool ended_ = false;
  std::thread thread_;
};

// Lets the writer count the lines for which the logger has no memory. spdlog's own handler writes to standard error, which
// may block.
void count_failures(spdlog::logger& logger, std::shared_ptr<LogWriter> writer);

}  // namespace pgveil::proxy
