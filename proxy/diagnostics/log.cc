#include "proxy/diagnostics/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

#include "proxy/base/descriptor.h"
#include "proxy/diagnostics/log_writer.h"

namespace pgveil::proxy {
namespace {

constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})";

constexpr std::string_view kAuditEvent = "audit";

bool writes_json = false;
std::atomic<bool> writes_session_start{true};
std::string audit_path;
Descriptor audit_file(-1);
std::shared_ptr<LogWriter> log_sink;    // of the log itself
std::shared_ptr<LogWriter> audit_sink;  // null: there is no audit file
std::atomic<bool> audit_is_blocked{false};
// After stop_log(), no line and no record is begun. The loggers stay: another thread may still be at a line.
std::atomic<bool> has_ended{false};
std::shared_ptr<spdlog::logger> audit_log;  // null: there is no audit file

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

// Returns the length of the UTF-8 sequence at the front of `text` (RFC 3629); 0: there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and code points above U+10FFFF are invalid.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  return size;
}

// Returns the code point of a UTF-8 sequence. For a byte that is not part of one, returns its value.
char32_t code_point(std::string_view sequence) {
  const auto byte = [&](std::size_t i) -> char32_t { return static_cast<unsigned char>(sequence[i]); };
  const auto tail = [&](std::size_t i) { return byte(i) & 0x3fU; };
  switch (sequence.size()) {
    case 2: return (byte(0) & 0x1fU) << 6U | tail(1);
    case 3: return (byte(0) & 0x0fU) << 12U | tail(1) << 6U | tail(2);
    case 4: return (byte(0) & 0x07U) << 18U | tail(1) << 12U | tail(2) << 6U | tail(3);
    default: return byte(0);
  }
}

// Returns whether a terminal or a program that reads lines would act on the character: a control character, a separator
// of lines or paragraphs, or one that changes the direction of the text (Unicode's Bidi_Control). All are below U+10000.
bool must_be_escaped(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

// Returns whether the character need not be escaped in quotes.
bool is_printable(char c) {
  return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

// Returns whether the character needs no quotes in text.
bool is_plain(char c) {
  return is_printable(c) && c != ' ' && c != '=';
}

// Appends the value in quotes, escaped as in JSON; text lines use the same form. Other characters than harmless, valid
// UTF-8 become \uXXXX, so that a client cannot write a line of its own, or change how another line looks.
void append_quoted(std::string& out, std::string_view value) {
  out += '"';
  while (!value.empty()) {
    const auto* end = std::find_if_not(value.begin(), value.end(), is_printable);
    out.append(value.begin(), end);
    value.remove_prefix(static_cast<std::size_t>(end - value.begin()));
    if (value.empty()) break;
    const std::size_t valid = utf8_sequence(value);
    const std::string_view piece = value.substr(0, std::max<std::size_t>(valid, 1));
    const char32_t c = code_point(piece);
    if (valid == 0 || must_be_escaped(c)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += piece;
    }
    value.remove_prefix(piece.size());
  }
  out += '"';
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

void append_key(std::string& line, bool as_json, std::string_view key) {
  line += as_json ? ",\"" : " ";
  line += key;
  line += as_json ? "\":" : "=";
}

void append_null(std::string& line, bool as_json, std::string_view key) {
  if (!as_json) return;
  append_key(line, as_json, key);
  line += "null";
}

void append_field(std::string& line, bool as_json, std::string_view key, std::string_view value) {
  if (value.empty()) return append_null(line, as_json, key);
  append_key(line, as_json, key);
  if (!as_json && std::all_of(value.begin(), value.end(), is_plain)) {
    line += value;
  } else {
    append_quoted(line, value);
  }
}

void append_number(std::string& line, bool as_json, std::string_view key, std::uint64_t value) {
  append_key(line, as_json, key);
  const fmt::format_int digits(value);
  line.append(digits.data(), digits.size());
}

void append_flag(std::string& line, bool as_json, std::string_view key, std::optional<bool> value) {
  if (!value) return append_null(line, as_json, key);
  append_key(line, as_json, key);
  line += as_json ? (*value ? "true" : "false") : (*value ? "yes" : "no");
}

std::atomic<std::uint64_t> lost_log_lines{0};
std::atomic<std::uint64_t> lost_audit_records{0};

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

// Returns whether the last line of a file is incomplete, for example because the disk was full.
bool ends_inside_line(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  char last = '\n';
  return status.st_size > 0 && ::pread(file.get(), &last, 1, status.st_size - 1) == 1 && last != '\n';
}

// Counts the lines for which there is no memory. spdlog's own handler writes to standard error, which may block.
void count_failures(spdlog::logger& logger, std::shared_ptr<LogWriter> sink) {
  logger.set_error_handler([sink = std::move(sink)](const std::string&) { sink->count_lost_line(); });
}

// open() must not wait for a reader of a FIFO, but write() must wait for room. On failure, errno has the reason.
Descriptor open_audit_file() {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
  constexpr mode_t kMode = 0666;  // less what umask says
  Descriptor file(::open(audit_path.c_str(), kFlags | O_NONBLOCK, kMode));
  if (file.get() >= 0) ::fcntl(file.get(), F_SETFL, O_APPEND);
  return file;
}

bool is_fifo(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISFIFO(file.st_mode);
}

// Returns the error of open() in words.
AuditFileError audit_file_error(const std::string& path, int error) {
  const std::string message = '"' + path + "\" cannot be opened for writing: ";
  if (error == ENXIO && is_fifo(path))
    return {message + "no process reads the FIFO", "Start the program that reads it first."};
  return {message + std::strerror(error), "Name a file that the user of this process may write."};
}

// Returns whether the file at audit_path is not the one that is open, because it was renamed or removed. Returns false for a
// FIFO or a device: its reader stays.
bool audit_file_was_moved() {
  struct stat open {};
  struct stat named {};
  if (::fstat(audit_file.get(), &open) != 0 || !S_ISREG(open.st_mode)) return false;
  if (::stat(audit_path.c_str(), &named) != 0) return errno == ENOENT;
  return S_ISREG(named.st_mode) && (named.st_ino != open.st_ino || named.st_dev != open.st_dev);
}

void tell_lost_records(LogWriter::Loss /*loss*/, std::uint64_t lines, const std::string& why) {
  LogLine(LogLevel::error, "audit_records_lost").add("lines", lines).add("detail", why);
}

}  // namespace

std::optional<AuditFileError> fifo_without_reader(const std::string& path) {
  if (path.empty() || !is_fifo(path)) return std::nullopt;
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() >= 0 || errno != ENXIO) return std::nullopt;
  return audit_file_error(path, ENXIO);
}

LostLines lost_lines() {
  return {.log_lines = lost_log_lines.load(std::memory_order_relaxed),
          .audit_records = lost_audit_records.load(std::memory_order_relaxed)};
}

std::optional<AuditFileError> start_log(const LogConfig& config) {
  writes_json = config.format == LogFormat::json;
  writes_session_start = config.session_start;
  audit_log.reset();
  audit_sink.reset();
  has_ended = false;
  LogWriter::Format format;
  format.level_prefixes = writes_to_journal();
  format.lost_lines = &lost_log_lines;
  log_sink =
      std::make_shared<LogWriter>(STDERR_FILENO, LogWriter::WhenFull::drop_oldest, tell_lost_lines, format);
  auto logger = std::make_shared<spdlog::logger>("pgveil", log_sink);
  logger->set_pattern(writes_json ? kJsonPattern : "%Y-%m-%dT%H:%M:%S.%eZ %L %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog_level(config.level));
  count_failures(*logger, log_sink);
  spdlog::set_default_logger(std::move(logger));
  if (config.audit_file.empty()) return std::nullopt;
  audit_path = config.audit_file;
  audit_file = open_audit_file();
  if (audit_file.get() < 0) return audit_file_error(config.audit_file, errno);
  LogWriter::Format audit_format;
  audit_format.begins_inside_line = ends_inside_line(config.audit_file);
  audit_format.lost_lines = &lost_audit_records;
  audit_sink = std::make_shared<LogWriter>(audit_file.get(), LogWriter::WhenFull::keep, tell_lost_records,
                                           audit_format);
  audit_log = std::make_shared<spdlog::logger>("audit", audit_sink);
  audit_log->set_pattern(kJsonPattern, spdlog::pattern_time_type::utc);
  count_failures(*audit_log, audit_sink);
  return std::nullopt;
}

void change_log(const LogConfig& config) {
  writes_session_start = config.session_start;
  spdlog::default_logger_raw()->set_level(spdlog_level(config.level));
}

void reopen_audit_file() {
  if (audit_sink && audit_file_was_moved()) {
    const Descriptor opened = open_audit_file();
    // The number of the descriptor stays, since the thread of the audit file writes to it at any time.
    if (opened.get() < 0 || ::dup3(opened.get(), audit_file.get(), O_CLOEXEC) < 0)
      LogLine(LogLevel::error, "audit_file_not_opened")
          .add("file", audit_path)
          .add("error", std::strerror(errno))
          .add(
              "hint",
              "Records go to the file that is open. Let the user of this process write the new file, and reload.");
  }
}

// Stops the audit file first, because its loss of records is reported in the log.
bool stop_log() {
  const bool audit_stopped = !audit_sink || audit_sink->stop({});
  const bool log_stopped = !log_sink || log_sink->stop({});
  has_ended = true;
  return audit_stopped && log_stopped;
}

bool audit_has_room() {
  if (!audit_sink || audit_sink->has_room()) {
    if (audit_is_blocked.load(std::memory_order_relaxed)) audit_is_blocked = false;
    return true;
  }
  if (!audit_is_blocked.exchange(true))
    LogLine(LogLevel::error, "audit_blocked")
        .add("hint", "Logins wait until audit_file takes records again. Look after its reader, or its disk.");
  return false;
}

bool log_is_json() {
  return writes_json;
}

bool should_log(LogLevel level) {
  return !has_ended && spdlog::default_logger_raw()->should_log(spdlog_level(level));
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

AuditRecord::AuditRecord(bool may_be_lost)
    : may_be_lost_(may_be_lost),
      level_(writes_json ? LogLevel::info : LogLevel::debug),
      is_in_log_(should_log(level_)) {
  if (is_in_log_) begin_line(line_, writes_json, spdlog_level(level_), kAuditEvent);
  if (audit_log && !has_ended) begin_line(json_, true, spdlog::level::info, kAuditEvent);
}

AuditRecord::~AuditRecord() {
  if (is_in_log_) spdlog::default_logger_raw()->log(spdlog_level(level_), line_);
  if (json_.empty()) return;
  // The limit is twice the number of bytes at which logins wait.
  if (may_be_lost_ && !audit_sink->has_room(2)) {
    audit_sink->count_lost_line();
  } else {
    audit_log->log(spdlog::level::info, json_);
  }
}

AuditRecord& AuditRecord::add(std::string_view key, std::string_view value) {
  if (is_in_log_) append_field(line_, writes_json, key, value);
  if (!json_.empty()) append_field(json_, true, key, value);
  return *this;
}

AuditRecord& AuditRecord::add_flag(std::string_view key, std::optional<bool> value) {
  if (is_in_log_) append_flag(line_, writes_json, key, value);
  if (!json_.empty()) append_flag(json_, true, key, value);
  return *this;
}

}  // namespace pgveil::proxy
