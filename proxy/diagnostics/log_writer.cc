#include "proxy/diagnostics/log_writer.h"

#include <fmt/format.h>
#include <pthread.h>
#include <spdlog/pattern_formatter.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <utility>

namespace pgveil::proxy {
namespace {

// If so many bytes are queued, they are written without waiting for more. An empty buffer keeps at most twice as much
// memory.
constexpr std::size_t kManyBytes = std::size_t{64} << 10U;

// The pause between two interrupts of a thread that must end, and their maximum number.
constexpr std::chrono::milliseconds kInterruptPause{10};
constexpr int kMaxInterrupts = 100;

std::uint64_t lines_of(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

// Returns the level of syslog(3).
unsigned severity_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return 7;
    case spdlog::level::warn: return 4;
    case spdlog::level::err: return 3;
    case spdlog::level::critical: return 2;
    default: return 6;
  }
}

}  // namespace

LogWriter::LogWriter(std::unique_ptr<LogOutput> output, WhenFull when_full, OnLoss on_loss, Format format)
    : output_(std::move(output)),
      when_full_(when_full),
      on_loss_(std::move(on_loss)),
      priority_facility_(format.priority_facility),
      lost_lines_(format.lost_lines),
      inside_line_(format.begins_inside_line),
      formatter_(std::make_unique<spdlog::pattern_formatter>()),
      thread_([this] { run(); }) {}

bool LogWriter::stop(Patience patience) {
  if (!thread_.joinable()) return true;
  std::unique_lock lock(mutex_);
  stopping_ = true;
  has_work_.notify_one();
  const auto end = std::chrono::steady_clock::now() + patience.in_total;
  for (std::uint64_t before = pieces_; !ended_; before = pieces_) {
    const auto next = std::chrono::steady_clock::now() + patience.without_progress;
    has_ended_.wait_until(lock, std::min(next, end), [this] { return ended_; });
    if (pieces_ == before || std::chrono::steady_clock::now() >= end) break;
  }
  const bool can_join = ended_ || interrupt_thread(lock);
  lock.unlock();
  if (can_join) {
    thread_.join();
  } else {
    thread_.detach();
  }
  return can_join;
}

// Interrupts the thread's system call, because no reader takes the lines. The signal has a handler that does nothing.
// SIGURG is used, because it is ignored by default. It is sent several times, because the thread may be between two
// system calls.
bool LogWriter::interrupt_thread(std::unique_lock<std::mutex>& lock) {
  given_up_ = true;
  struct sigaction interrupt {};
  interrupt.sa_handler = [](int) {};
  ::sigaction(SIGURG, &interrupt, nullptr);
  for (int i = 0; i < kMaxInterrupts && !ended_; ++i) {
    ::pthread_kill(thread_.native_handle(), SIGURG);
    has_ended_.wait_for(lock, kInterruptPause, [this] { return ended_; });
  }
  return ended_;
}

void LogWriter::log(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  if (priority_facility_)
    fmt::format_to(std::back_inserter(line), "<{}>", 8 * *priority_facility_ + severity_of(message.level));
  std::unique_lock lock(mutex_);
  formatter_->format(message, line);
  if (when_full_ == WhenFull::drop_oldest && lines_.size() + line.size() > kMaxBytes) drop_oldest();
  const auto before = lines_.size();
  lines_.append(line.data(), line.size());
  queued_.fetch_add(line.size(), std::memory_order_relaxed);
  const bool is_news = before == 0 || (before < kManyBytes && lines_.size() >= kManyBytes);
  lock.unlock();
  if (is_news) has_work_.notify_one();
}

void LogWriter::count_lost_line() {
  const std::lock_guard lock(mutex_);
  ++dropped_;
  note_lost(1);
}

void LogWriter::note_lost(std::uint64_t lines) {
  if (lost_lines_ != nullptr) lost_lines_->fetch_add(lines, std::memory_order_relaxed);
}

// Drops a quarter of the lines, so that the rest is not moved for every new line.
void LogWriter::drop_oldest() {
  const auto end = lines_.find('\n', kMaxBytes / 4);
  const auto size = end == std::string::npos ? lines_.size() : end + 1;
  const auto dropped = lines_of(std::string_view(lines_).substr(0, size));
  dropped_ += dropped;
  note_lost(dropped);
  lines_.erase(0, size);
  queued_.fetch_sub(size, std::memory_order_relaxed);
}

void LogWriter::set_pattern(const std::string& pattern) {
  set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
}

void LogWriter::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  const std::lock_guard lock(mutex_);
  formatter_ = std::move(formatter);
}

void LogWriter::run() {
  write_lines();
  const std::lock_guard lock(mutex_);
  ended_ = true;
  has_ended_.notify_all();
}

void LogWriter::write_lines() {
  std::string batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    has_work_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
    has_work_.wait_for(lock, kGathering, [this] { return stopping_ || lines_.size() >= kManyBytes; });
    if (lines_.empty() && dropped_ == 0) return;
    batch.swap(lines_);
    const auto dropped = std::exchange(dropped_, 0);
    lock.unlock();
    if (dropped > 0) tell_loss(Loss::dropped, dropped, "they are not read as fast as they come");
    write_out(batch);
    batch.clear();
    if (batch.capacity() > 2 * kManyBytes) batch = std::string();
    lock.lock();
  }
}

// Writes all lines. Lines that cannot be written are lost, or are tried again.
void LogWriter::write_out(std::string_view batch) {
  if (batch.empty()) return;
  for (std::string_view rest = batch; !write_all(batch, rest);) {
    const int error = errno;
    if (error == EMSGSIZE) {
      skip_line(rest);
    } else if (given_up_) {
      return lose(rest, "nobody read them before the process ended");
    } else if (when_full_ != WhenFull::keep || !waits_to_retry(rest, error)) {
      return lose(rest, std::strerror(error));
    }
  }
  is_failing_ = false;
}

// Ends an incomplete line first, for example one that was cut off by a full disk. `rest` is the end of `batch` that is not
// written yet. Returns false if it cannot be written; errno has the reason, and `rest` begins with a whole line.
bool LogWriter::write_all(std::string_view batch, std::string_view& rest) {
  if (output_->prepare()) inside_line_ = false;
  std::string_view line_feed = "\n";
  bool written = !inside_line_ || write_piece(line_feed);
  while (written && !rest.empty()) {
    const auto before = rest.size();
    written = write_piece(rest);
    queued_.fetch_sub(before - rest.size(), std::memory_order_relaxed);
  }
  if (!written) begin_cut_line_again(batch, rest);
  return written;
}

// Moves `rest` back to the begin of a line that was written in part.
void LogWriter::begin_cut_line_again(std::string_view batch, std::string_view& rest) {
  const auto written = batch.substr(0, batch.size() - rest.size());
  const auto cut = written.size() - (written.rfind('\n') + 1);  // npos + 1 is 0
  rest = batch.substr(written.size() - cut);
  queued_.fetch_add(cut, std::memory_order_relaxed);
}

// Waits before the next attempt. Returns false if there is none, because the process ends.
bool LogWriter::waits_to_retry(std::string_view rest, int error) {
  if (!is_failing_.exchange(true)) tell_loss(Loss::delayed, lines_of(rest), std::strerror(error));
  std::unique_lock lock(mutex_);
  if (stopping_) return false;
  has_work_.wait_for(lock, kRetryPause, [this] { return stopping_; });
  return true;
}

void LogWriter::skip_line(std::string_view& rest) {
  const auto line = rest.substr(0, rest.find('\n') + 1);
  lose(line, std::strerror(EMSGSIZE));
  rest.remove_prefix(line.size());
}

// An exception would end the process, since no other function of the thread catches it.
void LogWriter::tell_loss(Loss loss, std::uint64_t lines, const char* why) const {
  try {
    on_loss_(loss, lines, why);
  } catch (const std::bad_alloc&) {
    return;  // the loss is counted all the same
  }
}

void LogWriter::lose(std::string_view lines, const char* why) {
  is_failing_ = false;
  queued_.fetch_sub(lines.size(), std::memory_order_relaxed);
  note_lost(lines_of(lines));
  tell_loss(Loss::unwritable, lines_of(lines), why);
}

// Writes the front of `rest` and removes it from `rest`. Returns false if it cannot be written; errno has the reason.
bool LogWriter::write_piece(std::string_view& rest) {
  while (!given_up_) {
    const ssize_t written = output_->write(rest);
    if (written >= 0) {
      if (written > 0) inside_line_ = rest[static_cast<std::size_t>(written) - 1] != '\n';
      rest.remove_prefix(static_cast<std::size_t>(written));
      ++pieces_;
      return true;
    }
    if (errno != EINTR) return false;
  }
  return false;
}

void count_failures(spdlog::logger& logger, std::shared_ptr<LogWriter> writer) {
  logger.set_error_handler([writer = std::move(writer)](const std::string&) { writer->count_lost_line(); });
}

}  // namespace pgveil::proxy
