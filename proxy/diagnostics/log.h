// The log: one line for each event, as `key=value` for people or as JSON for programs. No SQL, no passwords, no
// keys. A value that is empty or unknown is left out of text, and is null in JSON, so that JSON has the same keys
// always.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/config/config.h"

namespace pgveil::proxy {

// Why the audit file cannot be opened.
struct AuditFileError {
  std::string message;
  std::string hint;
};

// To standard error, through a thread of its own (LogWriter): a reader that is slow or gone holds up no
// session. Lines for which there is no room push out the oldest, which a line tells. An audit record is kept
// instead: logins wait for audit_has_room(). Returns what is wrong with the audit file, if anything. Throws
// std::system_error if the system has no threads for it.
[[nodiscard]] std::optional<AuditFileError> start_log(const LogConfig& config);
// Returns the error with which start_log() would fail because the audit file is a FIFO that no process reads. A reader sees
// an end of file after this check, if no other process writes to the FIFO.
[[nodiscard]] std::optional<AuditFileError> fifo_without_reader(const std::string& path);
// Uses the level and log.session_start of `config` from now on, and opens the audit file again, so that a file that was
// renamed gets no more records. If it cannot be opened, logs that, and the open file stays in use. The format, and
// whether there is an audit file, do not change.
void change_log(const LogConfig& config);
// Writes what is queued, as long as the readers take it. Returns false if that hangs: the process must then
// end without destructors.
[[nodiscard]] bool stop_log();

// Whether a login may go on: its audit record will be written, or there is no audit file. Can be called from
// any thread.
[[nodiscard]] bool audit_has_room();

// Whether lines are JSON. Text is for people: a line has what they read first, and the rest is at level debug.
[[nodiscard]] bool log_is_json();
// Whether a line of this level is written; none is after stop_log().
[[nodiscard]] bool should_log(LogLevel level);
// Whether a session has a line when it is established (log.session_start).
[[nodiscard]] bool logs_session_start();

// A part of a line, for several lines to have.
class LogFields {
 public:
  LogFields();

  LogFields& add(std::string_view key, std::string_view value);
  LogFields& add(std::string_view key, std::uint64_t value);
  // `yes` or `no` in text. Has a name of its own, since a `const char*` would be converted to bool.
  LogFields& add_flag(std::string_view key, std::optional<bool> value);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// One line, written when it goes out of scope:
//   LogLine(LogLevel::info, "listening").add("address", address);
class LogLine {
 public:
  LogLine(LogLevel level, std::string_view event);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  LogLine& add(std::string_view key, std::string_view value);
  LogLine& add(std::string_view key, std::uint64_t value);
  LogLine& add_number(std::string_view key, std::optional<std::uint64_t> value);
  LogLine& add_flag(std::string_view key, std::optional<bool> value);
  // Those that LogFields has made.
  LogLine& add_fields(std::string_view fields);

 private:
  LogLevel level_;
  bool wanted_;
  std::string line_;
};

// One audit record, written when it goes out of scope: to the log as a line (of level info in JSON, of level debug
// in text), and to the audit file, whatever the level, as JSON.
class AuditRecord {
 public:
  // `may_be_lost`: if the audit file takes no records for so long that memory would fill, the record is
  // counted as lost, and is at most in the log.
  explicit AuditRecord(bool may_be_lost);
  ~AuditRecord();
  AuditRecord(const AuditRecord&) = delete;
  AuditRecord& operator=(const AuditRecord&) = delete;

  AuditRecord& add(std::string_view key, std::string_view value);
  AuditRecord& add_flag(std::string_view key, std::optional<bool> value);

 private:
  const bool may_be_lost_;
  const LogLevel level_;
  const bool is_in_log_;
  std::string line_;  // as the log wants it; empty if it does not
  std::string json_;  // for the audit file; empty where there is none
};

}  // namespace pgveil::proxy
