// pgveil [run|check|probe|status|sessions|terminate|certs|explain|doctor|generate]: see `pgveil --help`.

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "proxy/base/inherited_sockets.h"
#include "proxy/commands/certs.h"
#include "proxy/commands/check.h"
#include "proxy/commands/command_line.h"
#include "proxy/commands/doctor.h"
#include "proxy/commands/generate.h"
#include "proxy/commands/probe.h"
#include "proxy/commands/sessions.h"
#include "proxy/commands/status.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/preparation.h"
#include "proxy/server/server.h"
#include "tls/memory.h"

namespace {

using namespace pgveil::proxy;

// Lets neither a core dump nor a debugger of the same user see the memory of this process.
class HiddenMemory {
 public:
  HiddenMemory() { ::prctl(PR_SET_DUMPABLE, 0); }
  // Makes it visible again, unless the system had hidden it.
  void show() const {
    if (was_visible_) ::prctl(PR_SET_DUMPABLE, 1);
  }

 private:
  bool was_visible_ = ::prctl(PR_GET_DUMPABLE) == 1;
};

// Descriptors that are closed would be given to the next file that is opened, such as the audit file or
// epoll's, and the log would be written into that.
bool open_standard_files() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != descriptor) return false;
  return true;
}

// A write that fails says so in errno.
void ignore_signals_of_writes() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

int end_log(int exit_code) {
  const bool has_audit_ended = stop_audit();  // its losses are lines of the log
  if (!stop_log() || !has_audit_ended) std::_Exit(exit_code);
  return exit_code;
}

void print(const ConfigReport& report) {
  std::fputs(report.text().c_str(), stderr);
}

int run(Invocation invocation, const HiddenMemory& memory, ConfigSource source) {
  if (invocation.parsed.config.limits.core_dumps) memory.show();
  const auto snapshot = prepare(invocation.parsed);
  wipe_secrets(invocation.parsed.config);
  if (!snapshot) {
    print(snapshot.error().report);
    return snapshot.error().exit_code;
  }
  ConfigReport report;
  try {
    start_log((*snapshot)->log);
    if (const auto problem = start_audit((*snapshot)->audit)) {
      report.add_error(
          invocation.parsed.locations.error_at(problem->setting, problem->message, problem->hint));
      print(report);
      return end_log(kExitConfig);
    }
  } catch (const std::system_error& error) {
    report.add_error(
        value_error(std::string("could not create the thread of the log or of the audit: ") + error.what(),
                    "Raise the limit of threads (TasksMax, ulimit -u)."));
    print(report);
    return end_log(kExitUnavailable);
  }
  return end_log(serve(*snapshot, std::move(source)));
}

}  // namespace

int main(int argc, char** argv) {
  const HiddenMemory memory;  // before any secret is read
  if (!open_standard_files()) return kExitUnavailable;
  static_cast<void>(inherited_sockets());  // before there are threads
  ignore_signals_of_writes();
  if (!pgveil::tls::wipe_what_openssl_frees()) return kExitSoftware;
  try {
    auto invocation = parse_command_line(argc, argv);
    if (!invocation) return invocation.error();
    switch (invocation->command) {
      case Command::check: return run_check(invocation->parsed);
      case Command::explain: return run_explain(invocation->parsed, invocation->explain);
      case Command::doctor: return run_doctor(invocation->parsed, invocation->doctor);
      case Command::probe: return run_probe(invocation->probe);
      case Command::status: return run_status(invocation->status);
      case Command::sessions: return run_sessions(invocation->sessions);
      case Command::terminate: return run_terminate(invocation->termination);
      case Command::certs: return run_certs(invocation->certs);
      case Command::generate: return run_generate(invocation->generated);
      case Command::run:
        return run(std::move(*invocation), memory, [argc, argv] { return read_configuration(argc, argv); });
    }
  } catch (const std::exception& defect) {
    std::fprintf(stderr, "error: %s\n", defect.what());
  }
  return kExitSoftware;
}
