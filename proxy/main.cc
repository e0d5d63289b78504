// pgveil [run|check]: see `pgveil --help`.

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <system_error>
#include <utility>

#include "proxy/commands/check.h"
#include "proxy/commands/command_line.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/preparation.h"
#include "proxy/server/server.h"
#include "tls/memory.h"

namespace {

using namespace pgveil::proxy;

// Before any secret is read: neither a core dump nor a debugger of the same user is to see it.
void hide_memory(const LimitsConfig& limits) {
  if (!limits.core_dumps) ::prctl(PR_SET_DUMPABLE, 0);
}

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
  if (!stop_log()) std::_Exit(exit_code);
  return exit_code;
}

int run(Invocation invocation, ConfigSource source) {
  hide_memory(invocation.parsed.config.limits);
  const auto snapshot = prepare(invocation.parsed);
  wipe_secrets(invocation.parsed.config);
  if (!snapshot) {
    std::fputs(snapshot.error().report.text().c_str(), stderr);
    return snapshot.error().exit_code;
  }
  try {
    if (const auto problem = start_log((*snapshot)->log)) {
      std::fprintf(stderr, "error: the audit file cannot be written: %s\n", problem->c_str());
      return end_log(kExitConfig);
    }
  } catch (const std::system_error& error) {
    std::fprintf(
        stderr,
        "error: could not create the thread of the log: %s\n  hint: Raise the limit of threads (TasksMax, ulimit -u).\n",
        error.what());
    return end_log(kExitUnavailable);
  }
  return end_log(serve(*snapshot, std::move(source)));
}

}  // namespace

int main(int argc, char** argv) {
  if (!open_standard_files()) return kExitUnavailable;
  ignore_signals_of_writes();
  if (!pgveil::tls::wipe_what_openssl_frees()) return kExitSoftware;
  try {
    auto invocation = parse_command_line(argc, argv);
    if (!invocation) return invocation.error();
    switch (invocation->command) {
      case Command::check: return run_check(invocation->parsed);
      case Command::run:
        return run(std::move(*invocation), [argc, argv] { return read_configuration(argc, argv); });
    }
  } catch (const std::exception& defect) {
    std::fprintf(stderr, "error: %s\n", defect.what());
  }
  return kExitSoftware;
}
