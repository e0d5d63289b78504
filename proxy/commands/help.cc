#include "proxy/commands/help.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMinWidth = 40;
constexpr std::size_t kNameWidth = 30;  // of options; a longer name has a line of its own
constexpr std::string_view kEnvironmentHelp =
    R"(Every option can be set by an environment variable instead: PGVEIL_SSLROOTCERT is --sslrootcert, and PGVEIL_STARTUP_TIMEOUT is --startup-timeout. An option overrides its variable. The options of the groups Limits, Log, Audit, Reload and Admin override the configuration file; those of the groups Listener and Upstream cannot be combined with a file. The passphrase of --sslkey is read from PGVEIL_SSLPASSWORD or from the file, not from an option.)";
constexpr std::string_view kExitCodes =
    R"(Exit codes: 0 success; 64 invalid command line; 66 the configuration file cannot be read; 69 an address cannot be used for listening, or io_uring is not available; 70 internal error of pgveil; 78 invalid setting in the file, an option or a variable.)";
// Not wrapped, so that they can be copied.
constexpr std::string_view kExamples =
    R"(pgveil run --listen 127.0.0.1:5432 --upstream db01 --sslrootcert system
  pgveil check --config /etc/pgveil/pgveil.toml)";

// A command without the options of all settings.
struct PlainCommand {
  std::string_view name;
  CommandHelp help;
};
constexpr std::string_view kQueryExitCodes =
    "Exit codes: 0 success; 64 invalid command line; 69 pgveil does not answer.";
constexpr std::string_view kCertsExitCodes =
    "Exit codes: 0 success; 64 invalid command line; 66 a file cannot be read, or is not what the command needs; 73 a file exists already, or cannot be written, or the directory is locked.";
constexpr std::array kPlainCommands{
    PlainCommand{
        "probe",
        {" live|ready|startup [OPTION]...",
         "Exit codes: 0 the answer is positive; 64 invalid command line; 69 the answer is negative, or pgveil does not answer.",
         "pgveil probe ready --admin 127.0.0.1:9187"}},
    PlainCommand{
        "status",
        {" [OPTION]...", kQueryExitCodes, "pgveil status --admin unix:/run/pgveil/admin.sock --watch"}},
    PlainCommand{"sessions",
                 {" [OPTION]...", kQueryExitCodes,
                  "pgveil sessions --admin 127.0.0.1:9187 --filter user=billing --sort to_client"}},
    PlainCommand{
        "terminate",
        {" SESSION [OPTION]...",
         "Exit codes: 0 the session ends; 64 invalid command line; 69 there is no such session, or pgveil does not answer.",
         "pgveil terminate 7f3a-2b --admin 127.0.0.1:9187"}},
    PlainCommand{
        "explain",
        {" [OPTION]...",
         "Exit codes: 0 the client would be let in; 64 invalid command line; 69 the client would be refused; 66, 78 the configuration cannot be read, or has errors.",
         "pgveil explain --config /etc/pgveil/pgveil.toml --client 10.1.2.3 --cert alice.crt --user alice --database ledger"}},
    PlainCommand{
        "doctor",
        {" HOST[:PORT] [OPTION]...",
         "Exit codes: 0 nothing is wrong; 64 invalid command line; 69 a server has a fault; 66, 78 the configuration or a file cannot be read, or has errors; 73 the file of --save-chain exists already, or cannot be written.",
         "pgveil doctor db01.example.com --sslrootcert root.crt\n  pgveil doctor --config /etc/pgveil/pgveil.toml"}},
    PlainCommand{
        "certs",
        {" COMMAND [OPTION]...", kCertsExitCodes,
         "pgveil certs ca\n  pgveil certs server --host db01.example.com --ip 192.0.2.1\n  pgveil certs client --user billing"}},
    PlainCommand{"ca", {" [OPTION]...", kCertsExitCodes, "pgveil certs ca --dir certs"}},
    PlainCommand{"server",
                 {" --host NAME [OPTION]...", kCertsExitCodes,
                  "pgveil certs server --host db01.example.com --ip 192.0.2.1"}},
    PlainCommand{
        "client",
        {" --user NAME [OPTION]...", kCertsExitCodes,
         "pgveil certs client --user billing --spiffe spiffe://prod.example.com/ns/ledger/sa/billing"}},
    PlainCommand{"renew",
                 {" FILE [OPTION]...", kCertsExitCodes, "pgveil certs renew certs/db01.example.com.crt"}},
    PlainCommand{"revoke",
                 {" FILE... [OPTION]...", kCertsExitCodes, "pgveil certs revoke certs/billing.crt"}},
    PlainCommand{"crl", {" [OPTION]...", kCertsExitCodes, "pgveil certs crl --days 7"}},
    PlainCommand{"show",
                 {" FILE... [OPTION]...", kCertsExitCodes, "pgveil certs show certs/*.crt certs/ca.crl"}},
    PlainCommand{"generate",
                 {" man|toml-man|bash|zsh|fish",
                  "Exit codes: 0 success; 64 invalid command line; 73 the output cannot be written.",
                  "pgveil generate man | man -l -\n  source <(pgveil generate bash)"}},
};

// The column where the description of an option begins.
std::size_t name_width(std::size_t width) {
  return std::min(kNameWidth, width / 3);
}

std::size_t columns_of_variable() {
  const char* text = std::getenv("COLUMNS");
  std::size_t columns = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), columns);
  return columns;
}

}  // namespace

std::string_view help_on_variables() {
  return kEnvironmentHelp;
}

std::size_t terminal_width() {
  if (const auto columns = columns_of_variable(); columns > 0) return columns;
  winsize size{};
  const bool is_terminal = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_terminal ? size.ws_col : kDefaultWidth;
}

CommandHelp help_of(std::string_view command) {
  const auto* found = std::ranges::find(kPlainCommands, command, &PlainCommand::name);
  if (found != kPlainCommands.end()) return found->help;
  return {" [OPTION]...", kExitCodes, kExamples, true};
}

std::string wrapped(std::string_view text, std::size_t width, std::size_t indent) {
  std::string lines;
  std::size_t column = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find_first_of(" \n"), text.size());
    const auto word = text.substr(0, end);
    if (column > 0 && column + 1 + word.size() > width) {
      lines += '\n';
      column = 0;
    }
    if (!word.empty()) {
      lines.append(column == 0 ? indent : 1, ' ').append(word);
      column += (column == 0 ? indent : 1) + word.size();
    }
    if (end < text.size() && text[end] == '\n') {
      lines += '\n';
      column = 0;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

HelpFormatter::HelpFormatter(std::size_t width) : width_(std::max(width, kMinWidth)) {}

// The name, and next to it or below it what it does.
std::string HelpFormatter::entry(const std::string& name, const std::string& description) const {
  const std::size_t indent = name_width(width_);
  std::string lines = wrapped(description, width_, indent);
  const std::string begin = "  " + name;
  if (begin.size() < indent)
    lines.replace(0, begin.size(), begin);
  else
    lines.insert(0, begin + '\n');
  return lines + '\n';
}

// CLI11 puts the blank line between groups, and another one before each.
std::string HelpFormatter::make_group(std::string group, bool is_positional,
                                      std::vector<const CLI::Option*> options) const {
  return Formatter::make_group(std::move(group), is_positional, std::move(options)).substr(1);
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  const std::string type = option->get_type_name();
  return entry(make_option_name(option, is_positional) + (type.empty() ? "" : ' ' + type),
               make_option_desc(option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return entry(command->get_name(), command->get_description());
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  const std::string_view usage =
      app->get_parent() == nullptr ? " COMMAND [OPTION]..." : help_of(app->get_name()).usage;
  return "Usage: " + std::move(name) + std::string(usage) + "\n\n";
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  const CommandHelp help = help_of(app->get_name());
  const std::string codes = wrapped(help.exit_codes, width_, 0) + "\n\n";
  if (!help.has_settings) return codes + "Example:\n  " + std::string(help.example) + '\n';
  const std::string more =
      app->get_parent() == nullptr ? "Run \"pgveil run --help\" to see the options of a command.\n\n" : "";
  return more + wrapped(kEnvironmentHelp, width_, 0) + "\n\n" + codes + "Examples:\n  " +
         std::string(help.example) + '\n';
}

}  // namespace pgveil::proxy
