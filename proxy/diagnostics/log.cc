#include "proxy/diagnostics/log.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <utility>

#include "proxy/diagnostics/log_text.h"
#include "proxy/diagnostics/log_writer.h"

namespace pgveil::proxy {
namespace {

bool writes_json = false;
std::atomic<bool> writes_session_start{true};
std::shared_ptr<LogWriter> log_sink;
// After stop_log(), no line is begun. The logger stays: another thread may still be at a line.
std::atomic<bool> log_has_ended{false};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

void begin_line(std::string& line, bool as_json, spdlog::level::level_enum level, std::string_view event) {
  constexpr std::size_t kUsualLine = 640;
  line.reserve(kUsualLine);
  if (!as_json) {
    line = event;
    return;
  }
  const auto name = spdlog::level::to_string_view(level);
  line = R"("level":")";
  line.append(name.data(), name.size());
  line += R"(","event":)";
  append_quoted(line, event);
}

std::atomic<std::uint64_t> lost_lines{0};

// Logs the number of lost lines. If the log cannot be written at all, this cannot be reported.
void tell_lost_lines(LogWriter::Loss loss, std::uint64_t lines, const std::string& why) {
  if (loss == LogWriter::Loss::dropped)
    LogLine(LogLevel::warning, "log_lines_lost").add("lines", lines).add("detail", why);
}

// Returns whether standard error is the systemd journal. systemd sets JOURNAL_STREAM for this (systemd.exec(5)).
bool writes_to_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat file {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &file) != 0) return false;
  return std::to_string(file.st_dev) + ':' + std::to_string(file.st_ino) == stream;
}

}  // namespace

std::uint64_t lost_log_lines() {
  return lost_lines.load(std::memory_order_relaxed);
}

void start_log(const LogConfig& config) {
  constexpr unsigned kKernelFacility = 0;
  writes_json = config.format == LogFormat::json;
  writes_session_start = config.session_start;
  log_has_ended = false;
  LogWriter::Format format;
  if (writes_to_journal()) format.priority_facility = kKernelFacility;
  format.lost_lines = &lost_lines;
  log_sink =
      std::make_shared<LogWriter>(STDERR_FILENO, LogWriter::WhenFull::drop_oldest, tell_lost_lines, format);
  auto logger = std::make_shared<spdlog::logger>("pgveil", log_sink);
  logger->set_pattern(writes_json ? kJsonPattern : "%Y-%m-%dT%H:%M:%S.%eZ %L %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog_level(config.level));
  count_failures(*logger, log_sink);
  spdlog::set_default_logger(std::move(logger));
}

void change_log(const LogConfig& config) {
  writes_session_start = config.session_start;
  spdlog::default_logger_raw()->set_level(spdlog_level(config.level));
}

bool stop_log() {
  const bool has_stopped = !log_sink || log_sink->stop({});
  log_has_ended = true;
  return has_stopped;
}

bool log_is_json() {
  return writes_json;
}

bool should_log(LogLevel level) {
  return !log_has_ended && spdlog::default_logger_raw()->should_log(spdlog_level(level));
}

bool logs_session_start() {
  return writes_session_start;
}

LogFields::LogFields() {
  constexpr std::size_t kUsualFields = 512;
  text_.reserve(kUsualFields);
}

LogFields& LogFields::add(std::string_view key, std::string_view value) {
  append_field(text_, writes_json, key, value);
  return *this;
}

LogFields& LogFields::add(std::string_view key, std::uint64_t value) {
  append_number(text_, writes_json, key, value);
  return *this;
}

LogFields& LogFields::add_flag(std::string_view key, std::optional<bool> value) {
  append_flag(text_, writes_json, key, value);
  return *this;
}

LogLine::LogLine(LogLevel level, std::string_view event) : level_(level), wanted_(should_log(level)) {
  if (wanted_) begin_line(line_, writes_json, spdlog_level(level), event);
}

LogLine::~LogLine() {
  if (wanted_) spdlog::default_logger_raw()->log(spdlog_level(level_), line_);
}

LogLine& LogLine::add(std::string_view key, std::string_view value) {
  if (wanted_) append_field(line_, writes_json, key, value);
  return *this;
}

LogLine& LogLine::add(std::string_view key, std::uint64_t value) {
  if (wanted_) append_number(line_, writes_json, key, value);
  return *this;
}

LogLine& LogLine::add_number(std::string_view key, std::optional<std::uint64_t> value) {
  if (value) return add(key, *value);
  if (wanted_) append_null(line_, writes_json, key);
  return *this;
}

LogLine& LogLine::add_flag(std::string_view key, std::optional<bool> value) {
  if (wanted_) append_flag(line_, writes_json, key, value);
  return *this;
}

LogLine& LogLine::add_fields(std::string_view fields) {
  if (wanted_) line_ += fields;
  return *this;
}

}  // namespace pgveil::proxy
