// pgveil [run|check]: see `pgveil --help`.

#include <sys/prctl.h>

#include <cstdio>
#include <exception>
#include <memory>

#include "proxy/check.h"
#include "proxy/cli.h"
#include "proxy/log.h"
#include "proxy/preparation.h"
#include "proxy/server.h"
#include "tls/memory.h"

namespace {

using namespace pgveil::proxy;

// Before any secret is read: neither a core dump nor a debugger of the same user is to see it.
void hide_memory(const LimitsConfig& limits) {
  if (!limits.core_dumps) ::prctl(PR_SET_DUMPABLE, 0);
}

int run(Invocation invocation) {
  hide_memory(invocation.parsed.config.limits);
  const auto snapshot = prepare(invocation.parsed);
  wipe_secrets(invocation.parsed.config);
  if (!snapshot) {
    std::fputs(text_of(snapshot.error().mistakes).c_str(), stderr);
    return snapshot.error().exit_code;
  }
  if (const auto problem = start_log((*snapshot)->config.log)) {
    std::fprintf(stderr, "pgveil: the audit file cannot be written: %s\n", problem->c_str());
    stop_log();
    return kExitConfig;
  }
  const int exit_code = serve(*snapshot);
  stop_log();
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  if (!pgveil::tls::wipe_what_openssl_frees()) return kExitSoftware;
  try {
    auto invocation = parse_command_line(argc, argv);
    if (!invocation) return invocation.error();
    switch (invocation->command) {
      case Command::check: return run_check(invocation->parsed);
      case Command::run: return run(std::move(*invocation));
    }
  } catch (const std::exception& defect) {
    std::fprintf(stderr, "pgveil: %s\n", defect.what());
  }
  return kExitSoftware;
}
