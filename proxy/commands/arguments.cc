#include "proxy/commands/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <uv.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <sstream>
#include <utility>

#include "proxy/commands/certs_arguments.h"
#include "proxy/commands/command_words.h"
#include "proxy/commands/doctor_arguments.h"
#include "proxy/commands/generate.h"
#include "proxy/commands/help.h"
#include "proxy/commands/sessions.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/values.h"
#include "tls/version.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;

// --- the options for CLI11 ---

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

// What stands for a value in --help: "duration", or "text|json".
std::string placeholder(const std::string& type) {
  if (type.front() != '`') return type.substr(0, type.find(','));
  return replaced(replaced(replaced(type, "`", ""), ", ", "|"), " or ", "|");
}

// Settings have the names of these startup parameters, and descriptions mean the parameters.
constexpr std::array<std::string_view, 2> kStartupParameters{"options", "application_name"};

// What a setting does, with the names of options in place of the keys of a file.
template <class Section>
std::string description_of(const Setting<Section>& setting, std::span<const Setting<Section>> section) {
  std::string text(setting.effect);
  for (const auto& other : section)
    if (!other.flag().empty() && std::ranges::find(kStartupParameters, other.key) == kStartupParameters.end())
      text = replaced(text, fmt::format("`{}`", other.key), other.flag());
  const std::string value = setting.default_text();
  if (!value.empty()) text += fmt::format(" (default: {})", replaced(value, ",", ", "));
  return replaced(text, "`", "");
}

template <class Section>
void add_options(CLI::App& command, Arguments& arguments, const char* group,
                 std::span<const Setting<Section>> section) {
  for (const auto& setting : section) {
    const std::string flag = setting.flag();
    if (flag.empty()) continue;
    auto* option = command.add_option_function<std::string>(
        flag, [&arguments, flag](const std::string& text) { arguments.flags.emplace(flag, text); },
        description_of(setting, section));
    option->group(group)->type_name(placeholder(setting.type()));
    if (setting.type() == values::Boolean::type()) option->expected(0, 1);  // `--flag` alone is true
  }
}

// The flag is in `arguments` only if it is given.
void add_config(CLI::App& command, Arguments& arguments, const char* effect) {
  command
      .add_option_function<std::string>(
          std::string(kConfigFlag),
          [&arguments](const std::string& text) { arguments.flags.emplace(kConfigFlag, text); }, effect)
      ->type_name("file");
}

void add_all_options(CLI::App& command, Arguments& arguments) {
  // What is not known is named by us, without the values after it.
  command.allow_extras();
  add_config(command, arguments,
             "The configuration file (TOML). It takes the place of all options of the groups Listener and "
             "Upstream.");
  add_options(command, arguments, "Listener", listener_settings());
  add_options(command, arguments, "Upstream", upstream_settings());
  add_options(command, arguments, "Limits", limits_settings());
  add_options(command, arguments, "Log", log_settings());
  add_options(command, arguments, "Audit", audit_settings());
  add_options(command, arguments, "Reload", reload_settings());
  add_options(command, arguments, "Admin", admin_settings());
}

// --- what is wrong with the words ---

// Without the dashes.
std::vector<std::string> option_names() {
  std::vector<std::string> names{"config", "help"};
  visit_settings([&names](const char*, const auto& setting) {
    if (const auto flag = setting.flag(); !flag.empty()) names.push_back(flag.substr(2));
  });
  return names;
}

bool is_option(std::string_view word) {
  const auto names = option_names();
  return word.starts_with("--") && std::find(names.begin(), names.end(), word.substr(2)) != names.end();
}

// Without what follows a "=": it may be a secret.
std::string name_of_option(const std::string& word) {
  return word.substr(0, word.find('='));
}

// An option that is not one of ours, but has the name of a key in the configuration file.
EarlyExit key_as_option(const std::string& option, const NamesOutside& setting) {
  const std::string unknown = "unknown option " + in_quotes(option);
  if (!setting.flag.empty()) return usage_error(unknown, values::did_you_mean(setting.flag));
  if (!setting.variable.empty())
    return usage_error(unknown + ": every user of this machine can read a command line",
                       fmt::format("Use the environment variable {}.", setting.variable));
  if (setting.key == "port")
    return usage_error(unknown, "Write the port after the host: --upstream db01:5433.");
  return usage_error(unknown,
                     fmt::format("Set {} in the file of {}: it has no option.", setting.key, kConfigFlag));
}

EarlyExit unknown_option(const std::string& word) {
  const std::string option = name_of_option(word);
  const std::string name = option.substr(std::min(option.find_first_not_of('-'), option.size()));
  if (const auto setting = setting_of_key(name)) return key_as_option(option, *setting);
  const auto names = option_names();
  const auto near = values::nearest(name, {names.begin(), names.end()});
  const std::string unknown = "unknown option " + in_quotes(option);
  return usage_error(unknown, near.empty() ? "" : values::did_you_mean(fmt::format("--{}", near)));
}

// A value that is the name of an option stands where the value of the option before it was forgotten.
std::optional<EarlyExit> option_as_value(const Arguments& arguments) {
  for (const auto& [flag, value] : arguments.flags)
    if (is_option(value)) return usage_error(fmt::format("option \"{}\" requires a value", flag));
  return std::nullopt;
}

// Whether a word can appear in a message. A connection string with a password cannot, nor a part of one that the shell
// has split, such as "hunter2@db01".
bool may_be_shown(const std::string& word) {
  return !values::may_hold_password(word) && word.find('@') == std::string::npos;
}

// The word for the end of a message, if it may be shown.
std::string shown(const std::string& word) {
  return may_be_shown(word) ? ' ' + in_quotes(word) : "";
}

EarlyExit unexpected_argument(const std::string& word, const Arguments& arguments) {
  if (word.starts_with('-') && word != "--") return unknown_option(word);
  if (auto error = option_as_value(arguments)) return *std::move(error);
  const std::string message = "unexpected argument" + shown(word);
  if (may_be_shown(word) && word.ends_with(".toml"))
    return usage_error(message, fmt::format("To use a configuration file, write {} {}.", kConfigFlag, word));
  return usage_error(message,
                     "Each value follows the name of its option. Put a value with blanks in quotes.");
}

constexpr std::array<std::pair<Command, std::string_view>, 10> kCommandNames{
    {{Command::run, "run"},
     {Command::check, "check"},
     {Command::probe, "probe"},
     {Command::status, "status"},
     {Command::sessions, "sessions"},
     {Command::terminate, "terminate"},
     {Command::certs, "certs"},
     {Command::explain, "explain"},
     {Command::doctor, "doctor"},
     {Command::generate, "generate"}}};

std::optional<Command> command_of(std::string_view word) {
  for (const auto& [command, name] : kCommandNames)
    if (name == word) return command;
  return std::nullopt;
}

EarlyExit unknown_command(const std::string& word) {
  std::vector<std::string_view> names(kCommandNames.size());
  std::ranges::transform(kCommandNames, names.begin(), &std::pair<Command, std::string_view>::second);
  const auto near = values::nearest(word, names);
  if (!near.empty()) return usage_error("unknown command " + in_quotes(word), values::did_you_mean(near));
  return usage_error("unknown command" + shown(word), std::string(kCommands));
}

// What is wrong before a command has begun; nullopt: nothing, or --help and --version, which need none.
std::optional<EarlyExit> check_command(const std::vector<std::string>& words) {
  if (words.empty()) return usage_error("no command given", std::string(kCommands));
  const std::string& first = words.front();
  if (command_of(first) || first == "--help" || first == "-h" || first == "--version") return std::nullopt;
  if (!first.starts_with('-')) return unknown_command(first);
  if (!is_option(name_of_option(first))) return unknown_option(first);
  return usage_error("no command before the option " + in_quotes(name_of_option(first)),
                     fmt::format("Write the command first: pgveil run {} ...", name_of_option(first)));
}

// "run", or "certs server".
std::string full_name_of(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  const bool is_nested = parent != nullptr && parent->get_parent() != nullptr;
  return is_nested ? parent->get_name() + ' ' + command.get_name() : command.get_name();
}

// What CLI11 refuses of a known command: an option that is given twice, or has no value.
EarlyExit refused_option(const CLI::App& command, const CLI::ParseError& error) {
  const std::string name = full_name_of(command);
  const std::string text = error.what();
  const std::string option = text.substr(0, text.find(':'));
  for (const auto* given : command.get_options({}))
    if (given->count() > 1 && given->get_multi_option_policy() == CLI::MultiOptionPolicy::Throw)
      return usage_error(fmt::format("option \"{}\" is given more than once", given->get_name()), "", name);
  if (is_option(option) || command.get_option_no_throw(option) != nullptr)
    return usage_error(fmt::format("option \"{}\" requires a value", option), "", name);
  return usage_error("invalid command line", "", name);
}

// The command of `pgveil certs` that is asked for, or the command itself.
const CLI::App& nested_command(const CLI::App& command, const std::vector<std::string>& words) {
  const auto has_name = [&](const CLI::App* app) { return words.size() > 1 && app->get_name() == words[1]; };
  const auto found = command.get_subcommands(has_name);
  return found.empty() ? command : *found.front();
}

// A word that is not one of a command with options of its own. `command` is that, or one of its own commands.
EarlyExit unexpected_of_command(const CLI::App& command, const std::string& word) {
  const std::string name = name_of_option(word);
  const bool is_dashed = word.starts_with('-');
  const auto actions = command.get_subcommands({});
  if (!is_dashed && actions.empty())
    return usage_error("unexpected argument" + shown(word), "", full_name_of(command));
  std::vector<std::string> known;
  for (const auto* action : actions)
    if (!is_dashed) known.push_back(action->get_name());
  for (const auto* option : command.get_options({}))
    if (is_dashed) known.push_back(option->get_name());
  const auto near = values::nearest(name, {known.begin(), known.end()});
  const std::string hint = !near.empty() ? values::did_you_mean(near)
                           : is_dashed   ? ""
                                         : std::string(kCertsActions);
  return usage_error(fmt::format("unknown {} {}", is_dashed ? "option" : "command", in_quotes(name)), hint,
                     full_name_of(command));
}

// Whether the options of a command have nothing to do with the settings of a configuration.
bool has_own_options(Command command) {
  return command == Command::certs || command == Command::doctor;
}

void describe(CLI::App& app, std::size_t width) {
  app.name("pgveil");
  app.description("A TLS-terminating PostgreSQL wire-protocol proxy");
  app.formatter(std::make_shared<HelpFormatter>(width));
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Shows this text.");
  app.set_version_flag(
      "--version",
      fmt::format("pgveil {} ({}, libuv {})", PGVEIL_VERSION, tls::openssl_version(), uv_version_string()),
      "Shows the versions of pgveil and of its libraries.");
}

// A command with an option for each setting. The options are added only if the command is asked for: there are more than a
// hundred, and CLI11 compares each new option with all others.
void add_command(CLI::App& app, const char* name, const char* effect, bool is_asked_for,
                 Arguments& arguments) {
  auto& command = *app.add_subcommand(name, effect);
  command.group("Commands");
  if (is_asked_for) add_all_options(command, arguments);
}

// A command that asks the admin address of a running pgveil.
CLI::App& add_query(CLI::App& app, const char* name, const char* effect, Arguments& arguments) {
  auto& command = *app.add_subcommand(name, effect);
  command.group("Commands");
  command.allow_extras();
  command
      .add_option("--admin", arguments.admin_address,
                  "The address of the section [admin]; default is the variable PGVEIL_ADMIN_ADDRESS.")
      ->type_name("address");
  command.add_option("--timeout", arguments.timeout, "How long to wait for the answer (default: 1s).")
      ->type_name("duration");
  return command;
}

void add_view(CLI::App& command, Arguments& arguments) {
  command.add_flag("--json", arguments.as_json, "Prints JSON.");
  command.add_flag("--watch", arguments.watches, "Prints again every two seconds, until it is interrupted.");
}

void add_status(CLI::App& app, Arguments& arguments) {
  auto& command = add_query(app, "status", "Shows the state of a running pgveil.", arguments);
  add_view(command, arguments);
}

void add_sessions(CLI::App& app, Arguments& arguments) {
  auto& command = add_query(app, "sessions", "Lists the sessions of a running pgveil.", arguments);
  const std::string keys = fmt::format("{}", fmt::join(session_keys(), ", "));
  command
      .add_option(
          "--sort", arguments.sort,
          fmt::format("The column by which the list is sorted: {} (default: age, the oldest first).", keys))
      ->type_name("key");
  command
      .add_option(
          "--filter", arguments.filters,
          "Lists only sessions whose column matches, such as user=billing or client=10.1.*; may be given "
          "several times.")
      ->type_name("key=pattern")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_view(command, arguments);
}

void add_terminate(CLI::App& app, Arguments& arguments) {
  auto& command =
      add_query(app, "terminate", "Ends a session of a running pgveil with SQLSTATE 57P01.", arguments);
  command
      .add_option("session", arguments.session,
                  "The name of the session, as `pgveil sessions` and the log show it.")
      ->type_name("");
}

void add_probe(CLI::App& app, Arguments& arguments) {
  auto& command =
      add_query(app, "probe", "Asks a running pgveil for its health: exit code 0 is healthy.", arguments);
  command.add_option("what", arguments.probed, "The pages /livez, /readyz and /startupz.")
      ->type_name("live|ready|startup");
  command.add_flag("--upstream", arguments.of_upstreams,
                   "With ready: also requires a verified connection to each upstream (/readyz?upstream=1).");
}

void add_explain(CLI::App& app, Arguments& arguments) {
  auto& command = *app.add_subcommand(
      "explain",
      "Says what a listener would do with a client: rule, map, database user, server, or the refusal.");
  command.group("Commands");
  command.allow_extras();
  ExplainQuery& query = arguments.explain;
  const auto add = [&](const char* name, auto& value, const char* type, const char* effect) {
    command.add_option(name, value, effect)->type_name(type);
  };
  add_config(command, arguments, "The configuration; default is the variable PGVEIL_CONFIG.");
  add("--listener", query.listener, "address",
      "The address of the listener, as in the configuration; may be left out if there is only one.");
  add("--client", query.client, "address", "The client's IP address (default: 127.0.0.1).");
  add("--client-name", query.host_name, "name", "The client's host name, for rules that have one.");
  command.add_flag("--tls", query.has_tls, "The client uses TLS.");
  add("--cert", query.certificate_file, "file",
      "The certificate that the client shows, with its chain, in PEM; includes --tls.");
  add("--sni", query.server_name, "name",
      "The server name that the client requests (SNI): the host of its connection string; includes --tls.");
  add("--os-user", query.unix_user, "name", "The user of the client's process, at a Unix socket.");
  add("--user", query.user, "name", "The database user that the client asks for.");
  add("--database", query.database, "name", "The database that it asks for (default: the name of the user).");
  command.add_flag("--replication", query.replication, "It asks for physical replication.");
  command.add_flag("--all-rules", query.all_rules, "Also says of each earlier record why it does not match.");
}

void add_doctor(CLI::App& app, Arguments& arguments) {
  auto& command = *app.add_subcommand(
      "doctor", "Examines a server, or all of a configuration, and says what is wrong and what to change.");
  command.group("Commands");
  command.allow_extras();
  add_doctor_options(command, arguments.doctor);
  add_config(command, arguments,
             "Examines every upstream of this configuration; default is the variable PGVEIL_CONFIG.");
}

void add_generate(CLI::App& app, Arguments& arguments) {
  auto& command = *app.add_subcommand(
      "generate", "Prints a manual page, or the completion of commands and options for a shell.");
  command.group("Commands");
  command.allow_extras();
  command
      .add_option("what", arguments.generated,
                  "The manual pages pgveil(1) and pgveil.toml(5); completion for bash, zsh or fish.")
      ->type_name(fmt::format("{}", fmt::join(generated_names(), "|")));
}

// `asked_for`: the command whose options are needed; nullopt: the options of all commands are needed.
void add_commands(CLI::App& app, std::optional<Command> asked_for, Arguments& arguments) {
  add_command(app, "run", "Relays sessions until SIGTERM.", !asked_for || asked_for == Command::run,
              arguments);
  add_command(app, "check", "Loads everything as run would, and reports all errors.",
              !asked_for || asked_for == Command::check, arguments);
  add_probe(app, arguments);
  add_status(app, arguments);
  add_sessions(app, arguments);
  add_terminate(app, arguments);
  add_certs(app, arguments.certs);
  add_explain(app, arguments);
  add_doctor(app, arguments);
  add_generate(app, arguments);
}

// An EarlyExit after --help and --version, and for what CLI11 refuses.
std::optional<EarlyExit> parse(CLI::App& app, const CLI::App& command, std::vector<std::string> words) {
  try {
    std::reverse(words.begin(), words.end());  // the order in which CLI11 takes them off
    app.parse(std::move(words));
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream output;
    app.exit(success, output, output);
    return EarlyExit{kExitOk, output.str(), ""};
  } catch (const CLI::ParseError& error) {
    return refused_option(command, error);
  }
  return std::nullopt;
}

}  // namespace

EarlyExit usage_error(const std::string& message, const std::string& hint, std::string_view command) {
  ConfigReport report;
  report.add_error(value_error(message, hint));
  return {kExitUsage, "",
          fmt::format("{}Run \"pgveil {} --help\" to see all options.\n", report.lines(), command), report};
}

std::string_view name_of(Command command) {
  return std::ranges::find(kCommandNames, command, &std::pair<Command, std::string_view>::first)->second;
}

tl::expected<Arguments, EarlyExit> parse_arguments(std::vector<std::string> words, std::size_t width) {
  if (auto error = check_command(words)) return tl::unexpected(*std::move(error));
  Arguments arguments;
  CLI::App app;
  describe(app, width);
  arguments.command = command_of(words.front()).value_or(Command::run);  // also with --help and --version
  add_commands(app, arguments.command, arguments);
  const CLI::App& command =
      nested_command(*app.get_subcommand(std::string(name_of(arguments.command))), words);
  if (auto ending = parse(app, command, std::move(words))) return tl::unexpected(*std::move(ending));
  if (const auto rest = command.remaining(); !rest.empty())
    return tl::unexpected(has_own_options(arguments.command) ? unexpected_of_command(command, rest.front())
                                                             : unexpected_argument(rest.front(), arguments));
  return arguments;
}

CommandWords command_words() {
  Arguments arguments;
  CLI::App app;
  describe(app, kDefaultWidth);
  add_commands(app, std::nullopt, arguments);
  return words_of(app);
}

std::optional<NamesOutside> setting_of_key(std::string_view name) {
  std::optional<NamesOutside> found;
  const auto look = [&](std::string_view section, const auto& settings) {
    for (const auto& setting : settings) {
      const std::string key = flag_name(setting.key);
      if (name != key && name != fmt::format("{}-{}", section, key)) continue;
      if (!found) found = {std::string(setting.key), setting.flag(), setting.variable()};
    }
  };
  look("listener", listener_settings());
  look("certificate", certificate_settings());
  look("upstream", upstream_settings());
  look("limits", limits_settings());
  look("log", log_settings());
  look("audit", audit_settings());
  look("reload", reload_settings());
  look("admin", admin_settings());
  return found;
}

}  // namespace pgveil::proxy
