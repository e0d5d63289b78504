// The command line and the PGVEIL_* variables as a value: what to do, and with which configuration.
#pragma once

#include <map>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/config.h"

namespace pgveil::proxy {

// Exit codes, after sysexits.h.
inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 64;        // EX_USAGE: a command line that cannot be understood
inline constexpr int kExitNoInput = 66;      // EX_NOINPUT: the configuration file cannot be read
inline constexpr int kExitUnavailable = 69;  // EX_UNAVAILABLE: no listener, no worker, or no io_uring
inline constexpr int kExitSoftware = 70;     // EX_SOFTWARE: a defect of pgveil
inline constexpr int kExitConfig = 78;       // EX_CONFIG: mistakes in settings: file, flag or variable

enum class Command { run, check };

struct Invocation {
  Command command = Command::run;
  ParsedConfig parsed;
};

// Parses arguments, environment and the configuration file. Answers an exit code where there is nothing more
// to do: after --help and --version (0), or after mistakes, which are printed to standard error.
[[nodiscard]] tl::expected<Invocation, int> parse_command_line(int argc, const char* const* argv);

// The same on values, for tests.
struct CommandLine {
  std::vector<std::string> arguments;  // without the program's name
  std::map<std::string, std::string, std::less<>> environment;
};
struct EarlyExit {
  int exit_code = kExitOk;
  std::string output;  // for standard output
  std::string errors;  // for standard error
};
[[nodiscard]] tl::expected<Invocation, EarlyExit> understand(CommandLine line);

// One line each.
[[nodiscard]] std::string text_of(const Mistakes& mistakes);

}  // namespace pgveil::proxy
