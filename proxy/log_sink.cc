#include "proxy/log_sink.h"

#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

// So much is written at once, without waiting for more; and of memory, no more than twice that is kept.
constexpr std::size_t kManyBytes = std::size_t{64} << 10U;

std::uint64_t lines_of(std::string_view text) {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

LogSink::LogSink(int descriptor, WhenFull when_full, OnLoss on_loss)
    : descriptor_(descriptor),
      when_full_(when_full),
      on_loss_(std::move(on_loss)),
      formatter_(std::make_unique<spdlog::pattern_formatter>()),
      thread_([this] { run(); }) {}

void LogSink::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  has_work_.notify_one();
  thread_.join();
}

void LogSink::log(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  std::unique_lock lock(mutex_);
  formatter_->format(message, line);
  if (when_full_ == WhenFull::wait) {
    has_room_.wait(lock, [&] { return lines_.empty() || lines_.size() + line.size() <= kMostBytes; });
  } else if (lines_.size() + line.size() > kMostBytes) {
    drop_oldest();
  }
  const auto before = lines_.size();
  lines_.append(line.data(), line.size());
  const bool is_news = before == 0 || (before < kManyBytes && lines_.size() >= kManyBytes);
  lock.unlock();
  if (is_news) has_work_.notify_one();
}

// A quarter of them, so that the rest need not be moved for every line.
void LogSink::drop_oldest() {
  const auto end = lines_.find('\n', kMostBytes / 4);
  const auto size = end == std::string::npos ? lines_.size() : end + 1;
  dropped_ += lines_of(std::string_view(lines_).substr(0, size));
  lines_.erase(0, size);
}

void LogSink::set_pattern(const std::string& pattern) {
  set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
}

void LogSink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  const std::lock_guard lock(mutex_);
  formatter_ = std::move(formatter);
}

void LogSink::run() {
  std::string batch;
  std::unique_lock lock(mutex_);
  for (;;) {
    has_work_.wait(lock, [this] { return stopping_ || !lines_.empty(); });
    has_work_.wait_for(lock, kGathering, [this] { return stopping_ || lines_.size() >= kManyBytes; });
    if (lines_.empty()) return;
    batch.swap(lines_);
    const auto dropped = std::exchange(dropped_, 0);
    lock.unlock();
    has_room_.notify_all();
    if (dropped > 0) on_loss_(Loss::dropped, dropped, "they are not read as fast as they come");
    write_out(batch);
    batch.clear();
    if (batch.capacity() > 2 * kManyBytes) batch = std::string();
    lock.lock();
  }
}

void LogSink::write_out(std::string_view batch) const {
  while (!batch.empty()) {
    const ssize_t written = ::write(descriptor_, batch.data(), batch.size());
    if (written >= 0) {
      batch.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // whoever shares the descriptor has made it non-blocking
      pollfd room{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      on_loss_(Loss::unwritable, lines_of(batch), std::strerror(errno));
      return;
    }
  }
}

}  // namespace pgveil::proxy
