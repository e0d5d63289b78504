#include "proxy/diagnostics/log_writer.h"

#include <poll.h>
#include <pthread.h>
#include <spdlog/pattern_formatter.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

// If so many bytes are queued, they are written without waiting for more. It is also the maximum size of one write: a
// pipe holds as much, so that stop() notices progress. An empty buffer keeps at most twice as much memory.
constexpr std::size_t kManyBytes = std::size_t{64} << 10U;

// The pause between two interrupts of a thread that must end, and their maximum number.
constexpr std::chrono::milliseconds kInterruptPause{10};
constexpr int kMaxInterrupts = 100;

std::uint64_t lines_of(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

// Returns the level of syslog(3) as systemd reads it before a line.
std::string_view journal_prefix(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return "<7>";
    case spdlog::level::warn: return "<4>";
    case spdlog::level::err: return "<3>";
    case spdlog::level::critical: return "<2>";
    default: return "<6>";
  }
}

}  // namespace

LogWriter::LogWriter(int descriptor, WhenFull when_full, OnLoss on_loss, Format format)
    : descriptor_(descriptor),
      when_full_(when_full),
      on_loss_(std::move(on_loss)),
      level_prefixes_(format.level_prefixes),
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
  if (level_prefixes_) {
    const std::string_view prefix = journal_prefix(message.level);
    line.append(prefix.data(), prefix.data() + prefix.size());
  }
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
    if (dropped > 0) on_loss_(Loss::dropped, dropped, "they are not read as fast as they come");
    write_out(batch);
    batch.clear();
    if (batch.capacity() > 2 * kManyBytes) batch = std::string();
    lock.lock();
  }
}

// Ends an incomplete line first, for example one that was cut off by a full disk.
void LogWriter::write_out(std::string_view batch) {
  std::string_view line_feed = "\n";
  bool written = !inside_line_ || batch.empty() || write_piece(line_feed);
  while (written && !batch.empty()) {
    const auto before = batch.size();
    written = write_piece(batch);
    queued_.fetch_sub(before - batch.size(), std::memory_order_relaxed);
  }
  if (written) return;
  queued_.fetch_sub(batch.size(), std::memory_order_relaxed);
  const std::string why = given_up_ ? "nobody read them before the process ended" : std::strerror(errno);
  note_lost(lines_of(batch));
  on_loss_(Loss::unwritable, lines_of(batch), why);
}

// Writes the front of `rest` and removes it from `rest`. Returns false if it cannot be written; errno has the reason.
bool LogWriter::write_piece(std::string_view& rest) {
  while (!given_up_) {
    const std::size_t size = std::min(rest.size(), kManyBytes);
    const ssize_t written = ::write(descriptor_, rest.data(), size);
    if (written >= 0) {
      if (written > 0) inside_line_ = rest[static_cast<std::size_t>(written) - 1] != '\n';
      rest.remove_prefix(static_cast<std::size_t>(written));
      ++pieces_;
      return true;
    }
    if (errno == EAGAIN) {  // another process that shares the descriptor has made it non-blocking
      pollfd room{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return false;
}

}  // namespace pgveil::proxy
