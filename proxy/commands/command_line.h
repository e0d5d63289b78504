// The command line and the PGVEIL_* variables as a value: what to do, and with which configuration.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/commands/arguments.h"
#include "proxy/commands/certs.h"
#include "proxy/commands/doctor.h"
#include "proxy/commands/generate.h"
#include "proxy/commands/probe.h"
#include "proxy/commands/sessions.h"
#include "proxy/commands/status.h"
#include "proxy/config/config.h"

namespace pgveil::proxy {

struct Invocation {
  Command command = Command::run;
  ParsedConfig parsed;           // of `run` and `check`
  Probe probe = {};              // of `probe`
  StatusQuery status = {};       // of `status`
  SessionsQuery sessions = {};   // of `sessions`
  Termination termination = {};  // of `terminate`
  ExplainQuery explain = {};     // of `explain`
  DoctorRequest doctor = {};     // of `doctor`
  CertsRequest certs = {};       // of `certs`
  Generated generated = {};      // of `generate`
};

// Parses arguments, environment and the configuration file. Returns an exit code where there is nothing more
// to do: after --help and --version (0), or after errors, which are printed to standard error.
[[nodiscard]] tl::expected<Invocation, int> parse_command_line(int argc, const char* const* argv);

// Reads the configuration again, for a reload. Prints nothing.
[[nodiscard]] tl::expected<ParsedConfig, ConfigReport> read_configuration(int argc, const char* const* argv);

// The same on values, for tests.
struct CommandLine {
  std::vector<std::string> arguments;  // without the program's name
  std::map<std::string, std::string, std::less<>> environment;
  std::size_t width = kDefaultWidth;  // of --help
};
[[nodiscard]] tl::expected<Invocation, EarlyExit> parse_command_line(CommandLine line);

}  // namespace pgveil::proxy
