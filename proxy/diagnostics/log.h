// The log: one line for each event, as `key=value` for people or as JSON for programs. It contains no SQL, no passwords
// and no keys. A value that is empty or unknown is left out of a text line, and is null in JSON, so that JSON always has
// the same keys.
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

// Begins to write the log to standard error, in a thread of its own (LogWriter): a reader that is slow or gone does not
// delay sessions. If the queue is full, the oldest lines are dropped, and a line reports their number. Audit records are
// not dropped: logins wait for audit_has_room(). Returns what is wrong with the audit file, if anything. Throws
// std::system_error if the system has no threads for it.
[[nodiscard]] std::optional<AuditFileError> start_log(const LogConfig& config);
// Returns the error with which start_log() would fail because the audit file is a FIFO that no process reads. A reader sees
// an end of file after this check, if no other process writes to the FIFO.
[[nodiscard]] std::optional<AuditFileError> fifo_without_reader(const std::string& path);
// Uses the level and log.session_start of `config` from now on. The format and the audit file do not change.
void change_log(const LogConfig& config);
// Opens the audit file again if it was renamed or removed, so that the old file gets no more records. If it cannot be
// opened, logs that, and the old file stays in use.
void reopen_audit_file();
// Writes the queued lines, as long as the readers take them. Other threads may still log; their lines are not written.
// Returns false if a thread hangs: the process must then end without destructors.
[[nodiscard]] bool stop_log();

// The lines of the log and the audit records that were lost since the start. May be called by any thread.
struct LostLines {
  std::uint64_t log_lines = 0;
  std::uint64_t audit_records = 0;
};
[[nodiscard]] LostLines lost_lines();

// Returns whether a login may continue: its audit record will be written, or there is no audit file. May be called by
// any thread.
[[nodiscard]] bool audit_has_room();

// Returns whether lines are JSON. A text line has only what people read first; the rest is at level debug.
[[nodiscard]] bool log_is_json();
// Returns whether a line of this level is written; false after stop_log().
[[nodiscard]] bool should_log(LogLevel level);
// Returns whether a session has a line when it is established (log.session_start).
[[nodiscard]] bool logs_session_start();

// A part of a line that several lines have in common.
class LogFields {
 public:
  LogFields();

  LogFields& add(std::string_view key, std::string_view value);
  LogFields& add(std::string_view key, std::uint64_t value);
  // Adds `yes` or `no` in text. It is not named add(), because a `const char*` would be converted to bool.
  LogFields& add_flag(std::string_view key, std::optional<bool> value);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// One line. The destructor writes it:
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
  // Adds the text of LogFields.
  LogLine& add_fields(std::string_view fields);

 private:
  LogLevel level_;
  bool wanted_;
  std::string line_;
};

// One audit record. The destructor writes it to the log as a line (of level info in JSON, of level debug in text), and to
// the audit file as JSON, at every level of the log.
class AuditRecord {
 public:
  // `may_be_lost`: if the audit file accepts no records and the queue is full, the record is counted as lost, and is not
  // in the audit file.
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
  std::string line_;  // for the log; empty if it is not in the log
  std::string json_;  // for the audit file; empty if there is none
};

}  // namespace pgveil::proxy
