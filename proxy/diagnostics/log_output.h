// Where a LogWriter writes: a descriptor, a file that may be renamed, or the socket of a log daemon.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {

// Is used by the thread of the LogWriter only, unless a function says otherwise.
class LogOutput {
 public:
  LogOutput() = default;
  virtual ~LogOutput() = default;
  LogOutput(const LogOutput&) = delete;
  LogOutput& operator=(const LogOutput&) = delete;

  // Is called before lines are written that have waited. Returns whether they go to another file than the lines before.
  [[nodiscard]] virtual bool prepare() { return false; }
  // Writes the front of `lines`: whole lines, of which the first may lack what was written already. Waits for room. Returns
  // the number of bytes that were written; -1: none, and errno has the reason. EINTR: the caller tries again. EMSGSIZE: the
  // first line can never be written.
  [[nodiscard]] virtual ssize_t write(std::string_view lines) = 0;
};

// A descriptor that the caller keeps, and that must outlive the output.
class DescriptorOutput : public LogOutput {
 public:
  explicit DescriptorOutput(int descriptor) : descriptor_(descriptor) {}
  [[nodiscard]] ssize_t write(std::string_view lines) override;

 private:
  const int descriptor_;
};

// Why a file or FIFO cannot be opened for writing, and what to do about it.
struct OpenProblem {
  std::string message;
  std::string hint;
};
// `error`: of open(), an errno.
[[nodiscard]] OpenProblem describe_open_error(const std::string& path, int error);
[[nodiscard]] bool names_fifo(const std::string& path);

// A file, or a FIFO. A file that was renamed or removed gets no more lines: another one is created in its place.
class NamedFileOutput final : public LogOutput {
 public:
  // Creates the file if it is missing. Returns null if it cannot be opened for writing; errno has the reason.
  [[nodiscard]] static std::unique_ptr<NamedFileOutput> open(const std::string& path);

  [[nodiscard]] bool prepare() override;
  // Fails if the file was removed and another one cannot be created.
  [[nodiscard]] ssize_t write(std::string_view lines) override;
  // Opens the file again if it was renamed or removed. Logs a failure; the old file then stays in use. May be called by
  // any thread.
  void reopen_if_moved();

 private:
  NamedFileOutput(std::string path, Descriptor file)
      : path_(std::move(path)), file_(std::move(file)), output_(file_.get()) {}
  [[nodiscard]] bool was_moved() const;
  [[nodiscard]] bool reopen();
  [[nodiscard]] bool is_removed() const;
  void report_failure(bool is_repeated);

  const std::string path_;
  const Descriptor file_;  // its number never changes
  DescriptorOutput output_;
  std::mutex mutex_;  // for was_moved() and reopen()
  std::atomic<bool> is_new_{false};
  bool has_failed_ = false;  // the last attempt to open the file again, in prepare()
  int removed_error_ =
      0;  // why the file that was removed has no successor; 0: it was not removed, or has one
};

// The Unix socket of a log daemon, which takes each line as a datagram. If the daemon is gone, each write tries to connect
// again.
class DatagramOutput : public LogOutput {
 public:
  explicit DatagramOutput(std::string path) : path_(std::move(path)), socket_(-1) {}
  [[nodiscard]] ssize_t write(std::string_view lines) override;

 protected:
  // Sends one line, which has no line feed. Returns false if it was not sent; errno has the reason.
  [[nodiscard]] virtual bool send_line(std::string_view line);
  [[nodiscard]] int descriptor() const { return socket_.get(); }

 private:
  const std::string path_;
  Descriptor socket_;
};

// The systemd journal, in its native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL). Each line begins with its
// priority, such as "<86>", as in RFC 5424.
class JournalOutput final : public DatagramOutput {
 public:
  using DatagramOutput::DatagramOutput;

 private:
  [[nodiscard]] bool send_line(std::string_view line) override;
};

// Connects a datagram socket to the Unix socket at `path`. On failure, it is below zero, and errno has the reason.
[[nodiscard]] Descriptor connect_to_log_daemon(const std::string& path);

}  // namespace pgveil::proxy
