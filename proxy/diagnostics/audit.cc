#include "proxy/diagnostics/audit.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/logger.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include "proxy/base/descriptor.h"
#include "proxy/diagnostics/log_output.h"
#include "proxy/diagnostics/log_text.h"
#include "proxy/diagnostics/log_writer.h"
#include "proxy/diagnostics/stranger_limit.h"

namespace pgveil::proxy {
namespace {

constexpr std::string_view kAuditEvent = "audit";

std::shared_ptr<LogWriter> audit_writer;       // null: there is no target
std::shared_ptr<spdlog::logger> audit_logger;  // of `audit_writer`
NamedFileOutput* named_file = nullptr;         // of `audit_writer`; null: the target is not a file
std::atomic<bool> is_fail_open{false};
std::atomic<bool> is_full{false};  // reported since there was room last
// After stop_audit(), no record is begun. The logger stays: another thread may still be at a record.
std::atomic<bool> audit_has_ended{false};
std::atomic<std::uint64_t> lost_records{0};
std::atomic<std::uint64_t> omitted_records{0};

StrangerLimit stranger_limit;
std::mutex omitted_mutex;  // for omitted_callback
std::function<void()> omitted_callback;

std::string_view name_of(AuditOutcome outcome) {
  switch (outcome) {
    case AuditOutcome::accepted: return "accepted";
    case AuditOutcome::refused: return "refused";
    case AuditOutcome::abandoned: return "abandoned";
    case AuditOutcome::ended: return "ended";
    case AuditOutcome::omitted: return "omitted";
  }
  return "";
}

// Returns the severity of a record for syslog and the journal.
spdlog::level::level_enum severity_of(AuditOutcome outcome) {
  const bool is_warning = outcome == AuditOutcome::refused || outcome == AuditOutcome::omitted;
  return is_warning ? spdlog::level::warn : spdlog::level::info;
}

LogLevel level_in_log() {
  return log_is_json() ? LogLevel::info : LogLevel::debug;
}

// Returns whether clients may make any number of such records.
bool may_be_lost(AuditOutcome outcome) {
  return outcome == AuditOutcome::refused || outcome == AuditOutcome::abandoned;
}

// Returns whether the caller tries again if there was no memory for the record.
bool is_tried_again(AuditOutcome outcome) {
  return outcome == AuditOutcome::ended || outcome == AuditOutcome::omitted;
}

LogWriter::WhenFull when_full(AuditFailure fail) {
  return fail == AuditFailure::open ? LogWriter::WhenFull::drop_oldest : LogWriter::WhenFull::keep;
}

// Returns the name of this machine with only the characters of a host name; "-", which is nothing in RFC 5424, if it has
// none.
std::string host_name() {
  std::array<char, 256> buffer{};
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return "-";
  std::string name(buffer.data());
  std::erase_if(name, [](char c) {
    constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    return kAllowed.find(c) == std::string_view::npos;
  });
  return name.empty() ? "-" : name;
}

// Returns the header of RFC 5424 after the priority, which is a pattern of spdlog, and the record as the message.
std::string syslog_pattern() {
  return fmt::format("1 %Y-%m-%dT%H:%M:%S.%eZ {} pgveil {} {} - {}", host_name(), ::getpid(), kAuditEvent,
                     kJsonPattern);
}

// Returns whether the last line of a file is incomplete, for example because the disk was full.
bool ends_inside_line(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  char last = '\n';
  return status.st_size > 0 && ::pread(file.get(), &last, 1, status.st_size - 1) == 1 && last != '\n';
}

AuditError file_error(const std::string& path, int error) {
  OpenProblem problem = describe_open_error(path, error);
  return {"audit.file", std::move(problem.message), std::move(problem.hint)};
}

std::string socket_of(const AuditConfig& config) {
  if (!config.socket.empty()) return config.socket;
  return config.target == AuditTarget::journald ? "/run/systemd/journal/socket" : "/dev/log";
}

// Returns the error of connect() in words.
AuditError socket_error(const AuditConfig& config, int error) {
  const std::string daemon = config.target == AuditTarget::journald ? "systemd-journald" : "a syslog daemon";
  const std::string path = socket_of(config);
  if (error == EPROTOTYPE)
    return {"audit.socket", '"' + path + "\" is a stream socket, and must take datagrams",
            "Have the daemon listen for datagrams (SOCK_DGRAM, unix-dgram)."};
  return {"audit.socket", "nothing receives records at \"" + path + "\": " + std::strerror(error),
          "Start " + daemon + ", set audit.socket to where it listens, or use another audit.target."};
}

// Returns whether standard output and standard error are the same file or pipe. A terminal shows both to a person.
bool shares_standard_error() {
  struct stat output {};
  struct stat error {};
  if (::fstat(STDOUT_FILENO, &output) != 0 || ::fstat(STDERR_FILENO, &error) != 0) return false;
  return output.st_dev == error.st_dev && output.st_ino == error.st_ino && !S_ISCHR(output.st_mode);
}

void report_blocked(std::string_view detail) {
  LogLine(LogLevel::error, "audit_blocked")
      .add("detail", detail)
      .add(
          "hint",
          "Logins wait until the target of the audit takes records again. Look after its reader, its daemon or its "
          "disk.");
}

void tell_lost_records(LogWriter::Loss loss, std::uint64_t lines, const std::string& why) {
  if (loss == LogWriter::Loss::delayed) return report_blocked(why);
  LogLine(LogLevel::error, "audit_records_lost").add("lines", lines).add("detail", why);
}

void begin_writing(std::unique_ptr<LogOutput> output, const AuditConfig& config, LogWriter::Format format,
                   const std::string& pattern) {
  format.lost_lines = &lost_records;
  audit_writer =
      std::make_shared<LogWriter>(std::move(output), when_full(config.fail), tell_lost_records, format);
  audit_logger = std::make_shared<spdlog::logger>("audit", audit_writer);
  audit_logger->set_pattern(pattern, spdlog::pattern_time_type::utc);
  count_failures(*audit_logger, audit_writer);
}

std::optional<AuditError> begin_file(const AuditConfig& config) {
  auto file = NamedFileOutput::open(config.file);
  if (!file) return file_error(config.file, errno);
  named_file = file.get();
  LogWriter::Format format;
  format.begins_inside_line = ends_inside_line(config.file);
  begin_writing(std::move(file), config, format, kJsonPattern);
  return std::nullopt;
}

std::optional<AuditError> begin_standard_output(const AuditConfig& config) {
  if (shares_standard_error())
    return AuditError{
        "audit.target", "standard output is also standard error, to which the log is written",
        "Redirect one of them, so that records and log are apart, or use another audit.target."};
  begin_writing(std::make_unique<DescriptorOutput>(STDOUT_FILENO), config, {}, kJsonPattern);
  return std::nullopt;
}

// Returns why no daemon receives at the socket; 0: one does.
int error_of_daemon(const AuditConfig& config) {
  return connect_to_log_daemon(socket_of(config)).get() >= 0 ? 0 : errno;
}

// Returns whether the audit can begin without the daemon: it may come, and until then records may be lost.
bool may_begin_without(int error, const AuditConfig& config) {
  return config.fail == AuditFailure::open && (error == ENOENT || error == ECONNREFUSED);
}

std::optional<AuditError> begin_socket(const AuditConfig& config) {
  if (const int error = error_of_daemon(config); error != 0) {
    AuditError missing = socket_error(config, error);
    if (!may_begin_without(error, config)) return missing;
    LogLine(LogLevel::warning, "audit_daemon_missing")
        .add("detail", missing.message)
        .add("hint", missing.hint);
  }
  const std::string path = socket_of(config);
  LogWriter::Format format;
  format.priority_facility = static_cast<unsigned>(config.syslog_facility);
  if (config.target == AuditTarget::journald) {
    begin_writing(std::make_unique<JournalOutput>(path), config, format, kJsonPattern);
  } else {
    begin_writing(std::make_unique<DatagramOutput>(path), config, format, syslog_pattern());
  }
  return std::nullopt;
}

// Asks for a call of write_omitted_records().
void call_omitted_callback() {
  const std::lock_guard lock(omitted_mutex);
  if (omitted_callback) omitted_callback();
}

}  // namespace

std::optional<AuditError> start_audit(const AuditConfig& config) {
  audit_logger.reset();
  audit_writer.reset();
  named_file = nullptr;
  audit_has_ended = false;
  is_full = false;
  change_audit(config);
  switch (config.target) {
    case AuditTarget::none: return std::nullopt;
    case AuditTarget::file: return begin_file(config);
    case AuditTarget::standard_output: return begin_standard_output(config);
    case AuditTarget::syslog:
    case AuditTarget::journald: return begin_socket(config);
  }
  return std::nullopt;
}

void change_audit(const AuditConfig& config) {
  is_fail_open = config.fail == AuditFailure::open;
  stranger_limit.set_rate(config.stranger_rate);
  if (audit_writer) audit_writer->set_when_full(when_full(config.fail));
}

bool stop_audit() {
  write_omitted_records();
  const bool has_stopped = !audit_writer || audit_writer->stop({});
  audit_has_ended = true;
  return has_stopped;
}

std::optional<AuditError> fifo_without_reader(const AuditConfig& config) {
  if (config.target != AuditTarget::file || !names_fifo(config.file)) return std::nullopt;
  const Descriptor file(::open(config.file.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() >= 0 || errno != ENXIO) return std::nullopt;
  return file_error(config.file, ENXIO);
}

std::optional<AuditError> socket_without_daemon(const AuditConfig& config) {
  if (config.target != AuditTarget::syslog && config.target != AuditTarget::journald) return std::nullopt;
  const int error = error_of_daemon(config);
  if (error == 0 || may_begin_without(error, config)) return std::nullopt;
  return socket_error(config, error);
}

void reopen_audit_file() {
  if (named_file != nullptr && !audit_has_ended) named_file->reopen_if_moved();
}

void count_lost_audit_record() {
  if (audit_writer) audit_writer->count_lost_line();
}

std::uint64_t lost_audit_records() {
  return lost_records.load(std::memory_order_relaxed);
}

std::uint64_t omitted_audit_records() {
  return omitted_records.load(std::memory_order_relaxed);
}

bool audit_is_blocked() {
  return audit_writer && !is_fail_open && (audit_writer->is_failing() || !audit_writer->has_room());
}

bool audit_has_room() {
  if (!audit_writer || is_fail_open.load(std::memory_order_relaxed)) return true;
  if (audit_writer->is_failing()) return false;  // tell_lost_records() has said so
  if (audit_writer->has_room()) {
    if (is_full.load(std::memory_order_relaxed)) is_full = false;
    return true;
  }
  if (!is_full.exchange(true)) report_blocked("The queue of records is full.");
  return false;
}

bool audits_ends() {
  return audit_writer != nullptr;
}

bool may_audit_stranger() {
  const auto answer = stranger_limit.ask(std::chrono::steady_clock::now());
  if (answer == StrangerLimit::Answer::write) {
    write_omitted_records();
    return true;
  }
  omitted_records.fetch_add(1, std::memory_order_relaxed);
  if (answer == StrangerLimit::Answer::omit_first) call_omitted_callback();
  return false;
}

void write_omitted_records() {
  const auto omitted = stranger_limit.take_omitted();
  if (omitted == 0) return;
  try {
    AuditRecord(AuditOutcome::omitted, "").add("omitted", omitted);
  } catch (const std::bad_alloc&) {
    stranger_limit.give_back(omitted);
    call_omitted_callback();
  }
}

void on_omitted_record(std::function<void()> callback) {
  const std::lock_guard lock(omitted_mutex);
  omitted_callback = std::move(callback);
}

bool AuditRecord::is_wanted() {
  return audit_writer || should_log(level_in_log());
}

// The destructor runs also if this throws: the other constructor is complete then.
AuditRecord::AuditRecord(AuditOutcome outcome, std::string_view session) : AuditRecord(outcome) {
  constexpr std::size_t kUsualRecord = 1024;
  if (outcome != AuditOutcome::ended && should_log(level_in_log()))
    line_.emplace(level_in_log(), kAuditEvent);
  if (line_ && log_is_json()) line_->add("schema", kAuditSchema);
  if (has_target_) {
    json_.reserve(kUsualRecord);
    fmt::format_to(std::back_inserter(json_), R"("schema":{},"event":"{}")", kAuditSchema, kAuditEvent);
  }
  add("session", session).add("outcome", name_of(outcome));
}

AuditRecord::AuditRecord(AuditOutcome outcome)
    : outcome_(outcome), has_target_(audit_writer && !audit_has_ended) {}

AuditRecord::~AuditRecord() {
  if (!has_target_) return;
  const bool is_complete = std::uncaught_exceptions() == exceptions_;
  if (!is_complete && is_tried_again(outcome_)) return;
  // The limit is twice the number of bytes at which logins wait.
  if (!is_complete || (!is_fail_open && may_be_lost(outcome_) && !audit_writer->has_room(2))) {
    audit_writer->count_lost_line();
  } else {
    audit_logger->log(severity_of(outcome_), json_);
  }
}

AuditRecord& AuditRecord::add(std::string_view key, std::string_view text) {
  std::string room;
  const std::string_view value = cut(text, kMaxAuditValueBytes, room);
  if (line_) line_->add(key, value);
  if (has_target_) append_field(json_, true, key, value);
  return *this;
}

AuditRecord& AuditRecord::add(std::string_view key, std::uint64_t value) {
  if (line_) line_->add(key, value);
  if (has_target_) append_number(json_, true, key, value);
  return *this;
}

AuditRecord& AuditRecord::add_flag(std::string_view key, std::optional<bool> value) {
  if (line_) line_->add_flag(key, value);
  if (has_target_) append_flag(json_, true, key, value);
  return *this;
}

AuditRecord& AuditRecord::add_json(std::string_view fields) {
  if (has_target_) json_ += fields;
  return *this;
}

}  // namespace pgveil::proxy
