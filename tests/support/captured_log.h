// Captures the log for a test: the text that is written to standard error while the object exists. It begins and ends the
// audit, too.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/diagnostics/log.h"

namespace pgveil::test {

inline const proxy::LogConfig text_log{};
inline const proxy::LogConfig json_log{.format = proxy::LogFormat::json};

class CapturedLog {
 public:
  explicit CapturedLog(const proxy::LogConfig& config, const proxy::AuditConfig& audit = {})
      : standard_error_(::dup(STDERR_FILENO)), file_(::memfd_create("log", MFD_CLOEXEC)) {
    if (standard_error_.get() < 0 || file_.get() < 0) throw std::runtime_error("no descriptor");
    ::dup2(file_.get(), STDERR_FILENO);
    proxy::start_log(config);
    if (const auto error = proxy::start_audit(audit)) throw std::runtime_error(error->message);
  }
  ~CapturedLog() { stop(); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  // Ends the log. Returns its lines, without their times.
  std::vector<std::string> lines() {
    stop();
    std::string text(static_cast<std::size_t>(::lseek(file_.get(), 0, SEEK_END)), '\0');
    if (::pread(file_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("pread");
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) lines.push_back(without_time(line));
    return lines;
  }

 private:
  static std::string without_time(const std::string& line) {
    constexpr std::size_t kTime = std::string_view("2026-11-24T02:23:54.188Z ").size();
    constexpr std::size_t kJsonTime = std::string_view(R"({"time":"2026-11-24T02:23:54.188Z",)").size();
    return line.starts_with('{') ? '{' + line.substr(kJsonTime) : line.substr(kTime);
  }
  void stop() {
    if (standard_error_.get() < 0) return;
    static_cast<void>(proxy::stop_audit());
    static_cast<void>(proxy::stop_log());
    ::dup2(standard_error_.get(), STDERR_FILENO);
    standard_error_ = proxy::Descriptor(-1);
  }

  proxy::Descriptor standard_error_;
  proxy::Descriptor file_;
};

}  // namespace pgveil::test
