// The text of --help: every option with what it does, wrapped to the width of the terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/commands/arguments.h"

namespace pgveil::proxy {

// What --help says of a command, besides its options.
struct CommandHelp {
  std::string_view usage;       // what follows the name, with a blank before it
  std::string_view exit_codes;  // "Exit codes: 0 success; 64 invalid command line."
  std::string_view example;     // lines; each further one begins with two blanks
  bool has_settings = false;    // its options are those of the settings
};
// `command`: "status", or "server" of `pgveil certs`.
[[nodiscard]] CommandHelp help_of(std::string_view command);

// The paragraph on PGVEIL_* variables.
[[nodiscard]] std::string_view help_on_variables();

// The columns of the terminal that standard output is: COLUMNS if it is set, otherwise what the terminal says;
// kDefaultWidth if it is not a terminal.
[[nodiscard]] std::size_t terminal_width();

// Breaks lines at blanks, so that none is longer than `width` unless a single word is. Each line begins with
// `indent` blanks.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

// Writes options and commands in two columns, and examples at the end.
class HelpFormatter : public CLI::Formatter {
 public:
  explicit HelpFormatter(std::size_t width);
  [[nodiscard]] std::string make_group(std::string group, bool is_positional,
                                       std::vector<const CLI::Option*> options) const override;
  [[nodiscard]] std::string make_option(const CLI::Option* option, bool is_positional) const override;
  [[nodiscard]] std::string make_subcommand(const CLI::App* command) const override;
  [[nodiscard]] std::string make_footer(const CLI::App* app) const override;
  [[nodiscard]] std::string make_usage(const CLI::App* app, std::string name) const override;

 private:
  [[nodiscard]] std::string entry(const std::string& name, const std::string& description) const;
  std::size_t width_;
};

}  // namespace pgveil::proxy
