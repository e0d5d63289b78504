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

// Begins to write the log to standard error, in a thread of its own (LogWriter): a reader that is slow or gone does not
// delay sessions. If the queue is full, the oldest lines are dropped, and a line reports their number. Throws
// std::system_error if the system has no thread for it.
void start_log(const LogConfig& config);
// Uses the level and log.session_start of `config` from now on. The format does not change.
void change_log(const LogConfig& config);
// Writes the queued lines, as long as the reader takes them. Other threads may still log; their lines are not written.
// Returns false if a thread hangs: the process must then end without destructors.
[[nodiscard]] bool stop_log();

// Returns the number of lines of the log that were lost since the start. May be called by any thread.
[[nodiscard]] std::uint64_t lost_log_lines();

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

}  // namespace pgveil::proxy
