#include "proxy/commands/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>
#include <utility>

#include "proxy/commands/help.h"
#include "proxy/commands/roff.h"
#include "proxy/config/settings.h"
#include "proxy/config/values.h"

namespace pgveil::proxy {
namespace {

// Without a date: the pages of a version are the same wherever they are made. Lines are neither justified nor hyphenated, since
// many words are long, and are copied. Some macros of groff set both again, from AD and HY.
std::string title(std::string_view name, int section) {
  constexpr std::string_view kLayout = ".ad l\n.ds AD l\n.nh\n.nr HY 0\n";
  return fmt::format(".TH {} {} \"\" \"pgveil {}\" pgveil\n{}", name, section, PGVEIL_VERSION, kLayout);
}

std::string page_name(std::string_view name, std::string_view section) {
  return roff::bold(name) + '(' + std::string(section) + ')';
}

// --- pgveil(1) ---

// "auto|io_uring|epoll", with places where a line may end.
std::string type_of(const OptionWords& option) {
  std::string text = roff::italic(option.type);
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; ++at) text.insert(at + 1, "\\:");
  return text;
}

// "--config file", or "-h, --help".
std::string term_of(const OptionWords& option) {
  std::string names;
  for (const std::string& name : option.names)
    names.insert(0, roff::bold(name) + (names.empty() ? "" : ", "));
  if (option.type.empty()) return names;
  return names + ' ' + (option.is_value_optional ? '[' + type_of(option) + ']' : type_of(option));
}

bool is_help(const OptionWords& option) {
  return option.names.front() == "--help";
}

// Every command has --help; it is described once.
std::string entries(const CommandWords& command) {
  std::string text;
  for (const OptionWords& argument : command.arguments)
    text += roff::entry(roff::italic(argument.names.front())) + roff::filled(argument.effect);
  for (const OptionWords& option : command.options)
    if (!is_help(option)) text += roff::entry(term_of(option)) + roff::filled(option.effect);
  return text;
}

// A list of "Exit codes: 0 success; 66, 78 the file cannot be read."
std::string exit_codes(std::string_view text) {
  constexpr std::string_view kBegin = "Exit codes: ";
  if (text.starts_with(kBegin)) text.remove_prefix(kBegin.size());
  std::string list;
  while (!text.empty()) {
    const std::string_view code = text.substr(0, text.find("; "));
    const std::size_t end = std::min(code.find_first_not_of("0123456789, "), code.size());
    std::string effect(code.substr(end));
    if (!effect.ends_with('.')) effect += '.';
    if (!effect.empty()) effect[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(effect[0])));
    list += roff::entry(roff::bold(code.substr(0, code.find_last_not_of(' ', end - 1) + 1))) +
            roff::filled(effect);
    text.remove_prefix(std::min(code.size() + 2, text.size()));
  }
  return list;
}

// Lines of which all but the first begin with two blanks, without these.
std::string without_indent(std::string_view lines) {
  std::string text(lines);
  for (std::size_t at = 0; (at = text.find("\n  ", at)) != std::string::npos; ++at) text.erase(at + 1, 2);
  return text;
}

std::string synopsis(const CommandWords& pgveil) {
  std::string text = roff::section("SYNOPSIS");
  bool is_first = true;
  visit_commands(pgveil, [&](const CommandWords& command) {
    if (!command.commands.empty()) return;
    if (!is_first) text += ".br\n";
    is_first = false;
    text +=
        roff::bold("pgveil " + command.name) + roff::escaped(help_of(last_word(command.name)).usage) + '\n';
  });
  return text;
}

std::string list_of_commands(const CommandWords& pgveil) {
  std::string text = roff::section("COMMANDS");
  visit_commands(pgveil, [&](const CommandWords& command) {
    text += roff::entry(roff::bold(command.name)) + roff::filled(command.effect);
  });
  return text;
}

std::string general_options(const CommandWords& pgveil) {
  std::string text = roff::section("OPTIONS");
  for (const OptionWords& option : pgveil.options)
    text += roff::entry(term_of(option)) + roff::filled(option.effect);
  return text + ".PP\n" + roff::filled("Every command has `--help`, which shows its options.");
}

bool has_settings(const CommandWords& command) {
  return help_of(last_word(command.name)).has_settings;
}

// The options of all settings, in their groups. `run` and `check` have the same.
std::string options_of_settings(const CommandWords& pgveil) {
  std::string text = roff::section("OPTIONS OF RUN AND CHECK");
  const auto command = std::ranges::find_if(pgveil.commands, has_settings);
  if (command == pgveil.commands.end()) return "";
  std::string group = "Options";
  for (const OptionWords& option : command->options) {
    if (is_help(option)) continue;
    if (option.group != group) text += roff::subsection(group = option.group);
    text += roff::entry(term_of(option)) + roff::filled(option.effect);
  }
  return text;
}

std::string options_of_others(const CommandWords& pgveil) {
  std::string text = roff::section("OPTIONS OF THE OTHER COMMANDS");
  visit_commands(pgveil, [&](const CommandWords& command) {
    if (has_settings(command)) return;
    const CommandHelp help = help_of(last_word(command.name));
    text += roff::subsection("pgveil " + command.name + std::string(help.usage)) +
            roff::filled(command.effect) + entries(command);
    if (command.commands.empty()) text += ".PP\n" + roff::filled(help.exit_codes);
    text += roff::example(without_indent(help.example));
  });
  return text;
}

std::string files() {
  return roff::section("FILES") + roff::entry(roff::italic("/etc/pgveil/pgveil.toml")) +
         roff::filled(
             "The configuration that the unit of systemd uses. pgveil itself reads no file unless `--config` or "
             "PGVEIL_CONFIG names it.");
}

// --- pgveil.toml(5) ---

constexpr std::string_view kFileDescription =
    "The configuration of pgveil, in TOML 1.0. `pgveil run --config FILE` reads it, and `pgveil check --config FILE` reports all "
    "errors in it with file, line and key. A listener is where clients connect; an upstream is the servers that their sessions go "
    "to. The names of keys are those of PostgreSQL and libpq where these have the same setting.";
constexpr std::string_view kFileExample = R"([[listener]]
address = "127.0.0.1:5432"
upstream = "primary"

[upstream.primary]
host = "db01.internal.example.com"
sslrootcert = "/etc/pgveil/root.crt"
)";
constexpr std::string_view kValues =
    "Durations are strings with a unit: `ms`, `s`, `min`, `h` or `d`, as in `\"15s\"`. Sizes have a unit, too: `B`, `KiB`, `MiB` or "
    "`GiB`. Paths are relative to the directory in which pgveil was started. An unknown key is an error, and so is a key "
    "without an effect.";
constexpr std::string_view kOutside =
    "Most keys have a command-line option and an environment variable. These override the file in the sections `limits`, `log`, "
    "`audit`, `reload` and `admin`; those of listener and upstream cannot be combined with a file.";
constexpr std::string_view kReload =
    "SIGHUP, a change of the file with `reload.watch`, and `POST /reload` load the file again. If it has an error, the "
    "configuration of before stays in use. A reload does not change the keys below that require a restart.";

// A list that can be broken into lines.
std::string with_blanks_after_commas(std::string text) {
  for (std::size_t at = 0; (at = text.find(',', at)) != std::string::npos; ++at) text.insert(at + 1, 1, ' ');
  return text;
}

// The default as it is written in the file.
template <class Section>
std::string default_of(const Setting<Section>& setting) {
  if (setting.required) return "required";
  std::string text = setting.default_text();
  if (text.empty()) return "not set";
  const std::string type = setting.type();
  if (type == values::Boolean::type() || type.starts_with("integer")) return text;
  return '"' + with_blanks_after_commas(std::move(text)) + '"';
}

template <class Section>
std::string keys(std::string_view heading, std::string_view effect,
                 std::span<const Setting<Section>> settings) {
  std::string text = roff::section(heading) + roff::filled(effect);
  for (const auto& setting : settings) {
    text += roff::entry(roff::bold(setting.key)) + roff::filled(setting.effect) + ".br\n";
    text += roff::filled(fmt::format("Type: {}. Default: {}.", setting.type(), default_of(setting)));
    if (!setting.flag().empty()) text += ".br\n" + roff::filled(fmt::format("Option: `{}`.", setting.flag()));
    if (!setting.variable().empty())
      text += ".br\n" + roff::filled(fmt::format("Variable: `{}`.", setting.variable()));
    if (setting.only_for_tls) text += ".br\n" + roff::filled("Only for connections with TLS.");
    if (setting.secret) text += ".br\n" + roff::filled("A secret: it is not shown in messages.");
    if (setting.needs_restart) text += ".br\n" + roff::filled("A change requires a restart.");
  }
  return text;
}

}  // namespace

std::string manual(const CommandWords& pgveil) {
  std::string text = title("PGVEIL", 1);
  text += roff::section("NAME") + "pgveil \\- TLS\\-terminating PostgreSQL wire\\-protocol proxy\n" +
          synopsis(pgveil);
  text +=
      roff::section("DESCRIPTION") +
      roff::filled(
          "pgveil accepts PostgreSQL clients with and without TLS, decides by rules in the format of pg_hba.conf who may come "
          "in, and relays their sessions to PostgreSQL over TLS connections whose certificate and name it verifies. The "
          "first word of the command line is a command.");
  text += list_of_commands(pgveil) + general_options(pgveil) + options_of_settings(pgveil) +
          options_of_others(pgveil);
  text += roff::section("EXIT STATUS") +
          roff::filled("Of `run` and `check`; the other commands list theirs above.") +
          exit_codes(help_of("run").exit_codes);
  text += roff::section("ENVIRONMENT") + roff::filled(help_on_variables()) + files();
  text += roff::section("EXAMPLES") +
          roff::filled("A proxy on this machine, and a check of a configuration:") +
          roff::example(without_indent(help_of("run").example));
  return text + roff::section("SEE ALSO") + page_name("pgveil.toml", "5") + ", " + page_name("psql", "1") +
         ", " + page_name("openssl", "1") + '\n';
}

std::string file_manual() {
  std::string text = title("PGVEIL.TOML", 5);
  text += roff::section("NAME") + "pgveil.toml \\- configuration file of pgveil\n";
  text += roff::section("SYNOPSIS") + roff::italic("/etc/pgveil/pgveil.toml") + '\n';
  text += roff::section("DESCRIPTION") + roff::filled(kFileDescription) + roff::example(kFileExample);
  for (const std::string_view paragraph : {kValues, kOutside, kReload})
    text += ".PP\n" + roff::filled(paragraph);
  text += keys("[[listener]]", "Where clients connect; one section for each address.", listener_settings());
  text += keys("[[listener.certificate]]", "A further certificate of the listener above, for names in SNI.",
               certificate_settings());
  text +=
      keys("[upstream.NAME]", "The servers that sessions go to. NAME is what `upstream` of a listener says.",
           upstream_settings());
  text += keys("[limits]", "Limits of the process, and how it moves bytes.", limits_settings());
  text += keys("[log]", "The log on standard error.", log_settings());
  text +=
      keys("[audit]", "The audit: a record of each login and of the end of each session.", audit_settings());
  text += keys("[reload]", "What a reload does.", reload_settings());
  text += keys("[admin]", "The address for health, metrics and orders.", admin_settings());
  return text + roff::section("SEE ALSO") + page_name("pgveil", "1") + '\n';
}

}  // namespace pgveil::proxy
