// The words of a command line: which command, and which options. What is wrong with them is said so that it
// can be corrected without the documentation.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/exit_code.h"
#include "proxy/commands/command_words.h"
#include "proxy/commands/explain.h"
#include "proxy/config/config_report.h"
#include "proxy/config/settings.h"

namespace pgveil::proxy {

inline constexpr std::string_view kConfigFlag = "--config";

// The columns of --help if standard output is not a terminal.
inline constexpr std::size_t kDefaultWidth = 80;

enum class Command { run, check, probe, status, sessions, terminate, certs, explain, doctor, generate };

struct EarlyExit {
  int exit_code = kExitOk;
  std::string output;        // for standard output
  std::string errors;        // for standard error
  ConfigReport report = {};  // what `errors` says of the configuration
};

// The words of `pgveil certs`; empty: not given.
struct CertsArguments {
  std::string action;  // "server"
  std::string directory, name, output, key, days, user, spiffe;
  std::vector<std::string> hosts, addresses, emails, files, serials;
  bool as_json = false;
};

// The words of `pgveil doctor`, except for --config; empty: not given.
struct DoctorArguments {
  std::string server, hostaddr, sslrootcert, sslcert, sslkey, sslnegotiation, connect_timeout, user, dbname,
      passfile, sslcrl, sslcrldir, sslmode, chain_file;
  std::string channel_binding, require_auth;  // of a connection string only
  bool as_json = false;
};

struct Arguments {
  Command command = Command::run;
  std::map<std::string, std::string, std::less<>> flags;  // by "--name"; of `run` and `check`
  // Of the commands that ask a running pgveil.
  std::string admin_address;         // empty: not given
  std::string timeout;               // empty: not given
  std::string probed;                // of `probe`: "live"
  bool of_upstreams = false;         // of `probe`
  bool as_json = false;              // of `status` and `sessions`
  bool watches = false;              // of `status` and `sessions`
  std::string sort;                  // of `sessions`; empty: not given
  std::vector<std::string> filters;  // of `sessions`: "KEY=PATTERN"
  std::string session;               // of `terminate`
  CertsArguments certs;              // of `certs`
  ExplainQuery explain;              // of `explain`
  DoctorArguments doctor;            // of `doctor`
  std::string generated;             // of `generate`: "man"
};

// Returns the word for a command.
[[nodiscard]] std::string_view name_of(Command command);

// Parses `words`, which are without the program's name; `width` is that of --help in columns. Returns an EarlyExit
// after --help and --version, and after errors. No part of a word that may be a password is in it.
[[nodiscard]] tl::expected<Arguments, EarlyExit> parse_arguments(std::vector<std::string> words,
                                                                 std::size_t width);

// All commands with their options.
[[nodiscard]] CommandWords command_words();

inline constexpr std::string_view kCommands =
    "The commands are run, check, probe, status, sessions, terminate, certs, explain, doctor and generate.";

// "error: MESSAGE", the hint on a line of its own unless it is empty, and the option for help.
// `command`: whose options.
[[nodiscard]] EarlyExit usage_error(const std::string& message, const std::string& hint = "",
                                    std::string_view command = "run");

// Calls `use` with the name of the section and the setting, for each setting of the sections that options describe.
template <class Use>
void visit_settings(const Use& use) {
  for (const auto& setting : listener_settings()) use("Listener", setting);
  for (const auto& setting : upstream_settings()) use("Upstream", setting);
  for (const auto& setting : limits_settings()) use("Limits", setting);
  for (const auto& setting : log_settings()) use("Log", setting);
  for (const auto& setting : audit_settings()) use("Audit", setting);
  for (const auto& setting : reload_settings()) use("Reload", setting);
  for (const auto& setting : admin_settings()) use("Admin", setting);
}

// A setting by its key in the file, and the names that it has outside; these may be empty.
struct NamesOutside {
  std::string key;
  std::string flag;
  std::string variable;
};
// The setting whose key is `name`, or whose section and key are, with dashes: "host" or "upstream-host".
[[nodiscard]] std::optional<NamesOutside> setting_of_key(std::string_view name);

}  // namespace pgveil::proxy
