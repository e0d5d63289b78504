// The audit: one record for each login, whatever its outcome, and one for the end of each session. docs/audit.md describes
// the records, and docs/audit.schema.json their form. Records of logins are also lines of the log.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {

// The version of the form of the records. It grows if a key is removed or gets another meaning, not if one is added.
inline constexpr unsigned kAuditSchema = 1;

// Why the target of the audit cannot be used.
struct AuditError {
  std::string setting;  // "audit.file"
  std::string message;
  std::string hint;
};

// Begins to write records to the target, in a thread of its own. Must be called after start_log(). Returns what is wrong
// with the target, if anything. Throws std::system_error if the system has no thread for it.
[[nodiscard]] std::optional<AuditError> start_audit(const AuditConfig& config);
// Uses `fail` and `stranger_rate` of `config` from now on. The target does not change.
void change_audit(const AuditConfig& config);
// Writes the queued records, as long as the target takes them. Must be called before stop_log(). Returns false if a thread
// hangs: the process must then end without destructors.
[[nodiscard]] bool stop_audit();

// Returns the error with which start_audit() would fail because the file is a FIFO that no process reads. A reader sees an
// end of file after this check, if no other process writes to the FIFO.
[[nodiscard]] std::optional<AuditError> fifo_without_reader(const AuditConfig& config);
// Returns the error with which start_audit() would fail because no log daemon receives at the socket. With fail = "open" it is
// none if a daemon may start there later.
[[nodiscard]] std::optional<AuditError> socket_without_daemon(const AuditConfig& config);

// Opens the file again if it was renamed or removed, so that the old file gets no more records. Each writing of records
// does that, too.
void reopen_audit_file();

// Counts a record that is given up after the attempt to write it has failed. May be called by any thread.
void count_lost_audit_record();
// Return the number of records since the start that were lost, and that were omitted because of `stranger_rate`. May be
// called by any thread.
[[nodiscard]] std::uint64_t lost_audit_records();
[[nodiscard]] std::uint64_t omitted_audit_records();

// Returns whether a login may continue: its audit record will be written; or there is no target, or `fail` is `open`. May
// be called by any thread.
[[nodiscard]] bool audit_has_room();
// Returns whether logins have to wait, as audit_has_room(), and logs nothing.
[[nodiscard]] bool audit_is_blocked();
// Returns whether the ends of sessions have records: there is a target.
[[nodiscard]] bool audits_ends();

// Returns whether the record of a stranger may be written now. Otherwise the record is counted, and
// write_omitted_records() must be called within a second. May be called by any thread.
[[nodiscard]] bool may_audit_stranger();
// Writes one record with the number of records that were omitted, if there are any. If there is no memory for it, calls the
// callback of on_omitted_record(); the number is then written by the next call.
void write_omitted_records();
// Calls `callback`, in any thread, when the first record is omitted since the last call of write_omitted_records(), and when that
// call has failed. Null: calls nothing.
void on_omitted_record(std::function<void()> callback);

// The maximum length of a value; a longer one is cut, and ends with "...". So a record has at most 200,000 bytes, also if each
// byte of its values is escaped, and fits in a datagram of syslog with Linux's default limit (net.core.wmem_default, 212,992
// bytes with overhead).
inline constexpr std::size_t kMaxAuditValueBytes = 4000;

enum class AuditOutcome {
  accepted,   // the login has succeeded
  refused,    // pgveil or the server has refused it, or the server could not be used
  abandoned,  // it ended before that was decided
  ended,      // the end of a session that was accepted
  omitted,    // records that were not written
};

// One record. The destructor writes it to the target as JSON, and to the log as a line (of level info in JSON, of level
// debug in text), unless its outcome is `ended`: the log has the line session_closed for it.
class AuditRecord {
 public:
  // Returns whether the record of a login is written anywhere: to the target or to the log.
  [[nodiscard]] static bool is_wanted();

  // If the target accepts no records and the queue is full, records of `refused` and `abandoned` are lost, and
  // counted. The others are not lost, unless `fail` is `open`. A record that is not complete, because an exception was
  // thrown, is lost, too; those of `ended` and `omitted` are not counted, because they are tried again.
  AuditRecord(AuditOutcome outcome, std::string_view session);
  ~AuditRecord();
  AuditRecord(const AuditRecord&) = delete;
  AuditRecord& operator=(const AuditRecord&) = delete;

  AuditRecord& add(std::string_view key, std::string_view value);
  AuditRecord& add(std::string_view key, std::uint64_t value);
  AuditRecord& add_flag(std::string_view key, std::optional<bool> value);
  // Adds fields in JSON, such as `,"user":"app"`. Only for `ended`.
  AuditRecord& add_json(std::string_view fields);

 private:
  explicit AuditRecord(AuditOutcome outcome);

  const AuditOutcome outcome_;
  const bool has_target_;
  const int exceptions_ = std::uncaught_exceptions();  // when the record was begun
  std::optional<LogLine> line_;                        // nullopt: it is not in the log
  std::string json_;                                   // for the target
};

}  // namespace pgveil::proxy
