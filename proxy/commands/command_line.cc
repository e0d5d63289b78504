#include "proxy/commands/command_line.h"

#include <sys/stat.h>
#include <uv.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <regex>
#include <sstream>
#include <utility>

#include "proxy/config/config_builder.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/settings.h"
#include "proxy/credentials/secret_file.h"
#include "proxy/server/preparation.h"
#include "tls/digest.h"
#include "tls/version.h"

extern char** environ;

namespace pgveil::proxy {
namespace {

using values::in_quotes;
using values::RawValue;

constexpr std::string_view kConfigFlag = "--config";
constexpr std::string_view kConfigVariable = "PGVEIL_CONFIG";
constexpr std::string_view kVariablePrefix = "PGVEIL_";
// The name of the upstream of a command line, which has but one.
constexpr const char* kOnlyUpstream = "default";
constexpr const char* kHelpEnd =
    R"(Every flag has a variable: PGVEIL_SSLROOTCERT for --sslrootcert, PGVEIL_STARTUP_TIMEOUT for
--startup-timeout. A flag wins over its variable; limits and log win over the file. The passphrase of --sslkey
is only taken from PGVEIL_SSLPASSWORD or the file.

Exit codes: 0 well; 64 the command line cannot be understood; 66 the file of --config cannot be read;
69 an address cannot be listened on, or there is no io_uring; 70 a defect of pgveil; 78 a setting is wrong, in file, flag or variable.
)";

// Calls `use` with every setting, whatever its section.
template <class Use>
void for_each_setting(const Use& use) {
  for (const auto& setting : listener_settings()) use("Listener", setting);
  for (const auto& setting : upstream_settings()) use("Upstream", setting);
  for (const auto& setting : limits_settings()) use("Limits", setting);
  for (const auto& setting : log_settings()) use("Log", setting);
}

std::string without_backticks(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '`');
  return plain;
}

// What stands for a value in --help: "duration", or "text|json".
std::string placeholder(const std::string& type) {
  if (type.front() != '`') return type.substr(0, type.find(','));
  std::string words = without_backticks(type);
  for (const std::string_view separator : {", ", " or "})
    for (std::size_t at; (at = words.find(separator)) != std::string::npos;)
      words.replace(at, separator.size(), "|");
  return words;
}

// --- arguments ---

struct Arguments {
  Command command = Command::run;
  std::map<std::string, std::string, std::less<>> flags;  // by "--name"
};

void add_flags(CLI::App& command, Arguments& arguments) {
  // Whatever is not known is for us to name, without the values after it.
  command.allow_extras();
  command
      .add_option_function<std::string>(
          std::string(kConfigFlag),
          [&arguments](const std::string& text) { arguments.flags.emplace(kConfigFlag, text); },
          "A TOML file, instead of the flags for listener and upstream")
      ->type_name("FILE");
  for_each_setting([&](const char* group, const auto& setting) {
    const std::string flag = setting.flag();
    if (flag.empty()) return;
    auto* option = command.add_option_function<std::string>(
        flag, [&arguments, flag](const std::string& text) { arguments.flags.emplace(flag, text); },
        without_backticks(setting.effect));
    // The default is only for --help: CLI11's own default_str() would be the value of a bare `--sslsni`.
    const std::string text = setting.default_text();
    option->group(group)->type_name(placeholder(setting.type()) + (text.empty() ? "" : '=' + text));
    if (setting.type() == values::Boolean::type()) option->expected(0, 1);  // `--flag` alone is true
  });
}

std::vector<std::string> known_flags() {
  std::vector<std::string> flags{std::string(kConfigFlag)};
  for_each_setting([&flags](const char*, const auto& setting) {
    if (!setting.flag().empty()) flags.push_back(setting.flag());
  });
  return flags;
}

EarlyExit usage_mistake(const std::string& text) {
  return {kExitUsage, "",
          "error: " + values::without_passwords(text) + "\nRun pgveil --help for more information.\n"};
}

// Names the first argument that is none of ours, but nothing after its `=`: it may be a secret.
EarlyExit unexpected_argument(const std::string& argument) {
  const std::string name = argument.substr(0, argument.find('='));
  if (!name.starts_with('-'))
    return usage_mistake(
        "there is an argument that belongs to no flag, or a flag before it that has no value");
  if (name == "--sslpassword")
    return usage_mistake(
        "--sslpassword is no flag, as every user of this machine can read a command line; use "
        "PGVEIL_SSLPASSWORD");
  const auto flags = known_flags();
  const auto near = values::nearest(name, {flags.begin(), flags.end()});
  return usage_mistake("there is no flag " + name +
                       (near.empty() ? std::string() : "; is " + std::string(near) + " meant?"));
}

tl::expected<Arguments, EarlyExit> parse_arguments(std::vector<std::string> words) {
  Arguments arguments;
  CLI::App app("A TLS-terminating PostgreSQL wire-protocol proxy", "pgveil");
  app.set_version_flag("--version", std::string("pgveil ") + PGVEIL_VERSION + " (" + tls::openssl_version() +
                                        ", libuv " + uv_version_string() + ")");
  app.require_subcommand(1);
  app.footer(kHelpEnd);
  auto* run = app.add_subcommand("run", "Relays sessions until SIGTERM");
  auto* check = app.add_subcommand("check", "Loads everything as run would, and reports all errors");
  for (auto* command : {run, check}) {
    add_flags(*command, arguments);
    command->footer(kHelpEnd);
  }

  try {
    std::reverse(words.begin(), words.end());  // the order in which CLI11 takes them off
    app.parse(std::move(words));
  } catch (const CLI::Success& success) {  // --help, --version
    std::ostringstream output;
    app.exit(success, output, output);
    return tl::unexpected(EarlyExit{kExitOk, output.str(), ""});
  } catch (const CLI::ParseError& error) {
    return tl::unexpected(usage_mistake(error.what()));
  }
  for (auto* command : {run, check})
    if (!command->remaining().empty())
      return tl::unexpected(unexpected_argument(command->remaining().front()));
  arguments.command = check->parsed() ? Command::check : Command::run;
  return arguments;
}

// --- flags and variables together ---

// The settings that are given outside of the file.
class Given {
 public:
  Given(const Arguments& arguments, const CommandLine& line)
      : flags_(arguments.flags), variables_(line.environment) {}

  struct Value {
    std::string text;
    Origins::Place place;
  };
  [[nodiscard]] std::optional<Value> find(std::string_view flag, std::string_view variable) const {
    if (const auto found = flags_.find(flag); found != flags_.end())
      return Value{found->second, {found->first, 0}};
    // An empty variable is none: that is how compose files and charts leave one out.
    if (const auto found = variables_.find(variable); found != variables_.end() && !found->second.empty())
      return Value{found->second, {found->first, 0}};
    return std::nullopt;
  }
  template <class Section>
  [[nodiscard]] std::optional<Value> find(const Setting<Section>& setting) const {
    auto value = find(setting.flag(), setting.variable());
    // A boolean flag may stand alone.
    const bool is_flag_alone = value && value->text.empty() && setting.type() == values::Boolean::type();
    if (is_flag_alone) value->text = "true";
    return value;
  }

 private:
  const std::map<std::string, std::string, std::less<>>& flags_;
  const std::map<std::string, std::string, std::less<>>& variables_;
};

template <class Section>
void apply(const Given& given, std::span<const Setting<Section>> settings, SectionDraft<Section>& section,
           ConfigDraft& draft) {
  for (const auto& setting : settings) {
    auto value = given.find(setting);
    if (!value) continue;
    draft.set(section, setting, {RawValue::Kind::untyped, std::move(value->text)}, value->place);
    draft.note_text(section, setting.key, {value->place.file, 1});
  }
}

// What Kubernetes sets in every container for a Service whose name begins with "pgveil": PGVEIL_SERVICE_HOST,
// PGVEIL_INGRESS_PORT_5432_TCP_ADDR (pkg/kubelet/envvars). `name` is without the prefix.
bool is_of_kubernetes(const std::string& name, const std::string& value) {
  static const std::regex of_service(
      "([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
      ")");
  static const std::regex url("([A-Z0-9_]+_)?PORT");
  if (std::regex_match(name, of_service)) return true;
  return std::regex_match(name, url) &&
         (value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://"));
}

// What to do about a variable that is named like a setting, or like its section and the setting, and is not
// the setting's own; empty: no setting has such a name.
std::string remedy_for_key(const std::string& name) {
  std::string remedy;
  const auto look = [&](std::string_view section, const auto& settings) {
    for (const auto& setting : settings) {
      const std::string key = variable_name(setting.key).substr(kVariablePrefix.size());
      if (name != key && name != variable_name(section).substr(kVariablePrefix.size()) + '_' + key) continue;
      if (!remedy.empty()) continue;
      if (!setting.variable().empty())
        remedy = "Use " + setting.variable() + '.';
      else if (setting.key == "port")
        remedy = "Write the port after the host in PGVEIL_UPSTREAM, such as db01:5433.";
      else
        remedy = "Set " + std::string(setting.key) + " in the file of --config: it has no variable.";
    }
  };
  look("listener", listener_settings());
  look("certificate", certificate_settings());
  look("upstream", upstream_settings());
  look("limits", limits_settings());
  look("log", log_settings());
  return remedy;
}

// A variable that is not one of ours would silently do nothing: PGVEIL_SSLCLR checks no revocation list, and
// PGVEIL_HOST names no server.
void check_variables(const CommandLine& line, ConfigDraft& draft) {
  std::vector<std::string> known{"CONFIG"};
  for_each_setting([&known](const char*, const auto& setting) {
    if (const auto name = setting.variable(); !name.empty())
      known.push_back(name.substr(kVariablePrefix.size()));
  });
  for (const auto& [name, value] : line.environment) {
    if (!name.starts_with(kVariablePrefix) || value.empty()) continue;
    auto end = name.substr(kVariablePrefix.size());
    if (std::find(known.begin(), known.end(), end) != known.end() || is_of_kubernetes(end, value)) continue;
    std::transform(end.begin(), end.end(), end.begin(),
                   [](unsigned char byte) { return std::toupper(byte); });
    auto remedy = remedy_for_key(end);
    if (remedy.empty()) {
      const auto near = values::nearest(end, {known.begin(), known.end()});
      remedy = near.empty() ? "Unset it, or see docs/configuration.md for those that there are."
                            : "Is " + variable_name(flag_name(near)) + " meant?";
    }
    draft.add({name, 0, "", "there is no such variable", remedy});
  }
}

// --- the two ways to configure ---

void read_flags_and_variables(const Given& given, ConfigDraft& draft) {
  const Origins::Place command_line{"command line", 0};
  auto& listener = draft.add_listener(command_line);
  apply(given, listener_settings(), listener, draft);
  for (const auto& setting : listener_settings())
    if (setting.key == "upstream")
      draft.set(listener, setting, {RawValue::Kind::untyped, kOnlyUpstream}, command_line);
  apply(given, upstream_settings(), draft.add_upstream(kOnlyUpstream, command_line), draft);
}

// With a file, the one setting that may still come from outside: a secret does not belong into a file.
void apply_password(const Given& given, ConfigDraft& draft) {
  for (const auto& setting : upstream_settings()) {
    if (!setting.secret) continue;
    auto value = given.find(setting);
    if (!value) continue;
    bool is_used = false;
    for (auto& upstream : draft.upstreams()) {
      if (!draft.has(upstream, "sslkey") || draft.has(upstream, setting.key)) continue;
      draft.set(upstream, setting, {RawValue::Kind::untyped, value->text}, value->place);
      is_used = true;
    }
    if (!is_used)
      draft.add({value->place.file, 0, "", "is of no use: no upstream has sslkey without sslpassword",
                 "Unset it."});
    tls::wipe(value->text);
  }
}

// A setting of listener or upstream that is given beside a file; nullopt where there is none.
std::optional<std::string> setting_beside_file(const Given& given) {
  std::optional<std::string> first;
  const auto look = [&](const auto& settings) {
    for (const auto& setting : settings)
      if (const auto value = given.find(setting); value && !setting.secret && !first)
        first = value->place.file;
  };
  look(listener_settings());
  look(upstream_settings());
  return first;
}

struct ConfigFile {
  std::string text;
  // Why it must not hold a secret. Of no terminal or other device.
  std::optional<AccessFault> access_fault;
};

tl::expected<ConfigFile, EarlyExit> read_file(const std::string& path) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rb"));
  ConfigFile content;
  std::array<char, 4096> block{};
  while (file && !std::ferror(file.get()) && !std::feof(file.get()))
    content.text.append(block.data(), std::fread(block.data(), 1, block.size(), file.get()));
  tls::wipe(std::span(reinterpret_cast<std::uint8_t*>(block.data()), block.size()));
  if (!file || std::ferror(file.get())) {
    const std::string why = std::strerror(errno);
    return tl::unexpected(EarlyExit{
        kExitNoInput, "",
        "error: could not read file " + values::without_passwords(in_quotes(path)) + ": " + why + "\n"});
  }
  if (struct stat status{}; ::fstat(::fileno(file.get()), &status) == 0 && !S_ISCHR(status.st_mode))
    content.access_fault = find_access_fault(status, "sslpassword");
  return content;
}

// As with a key file: a person who can read the passphrase need not guess it.
void refuse_secrets_of_open_file(const ConfigFile& file, ConfigDraft& draft) {
  if (!file.access_fault) return;
  for (const auto& setting : upstream_settings()) {
    if (!setting.secret) continue;
    for (const auto& upstream : draft.upstreams())
      if (draft.has(upstream, setting.key))
        draft.add_at(upstream, setting.key, "the file " + file.access_fault->problem,
                     file.access_fault->remedy);
  }
}

// Fills the draft from wherever the command line says; an EarlyExit where that cannot even be begun.
std::optional<EarlyExit> read_settings(const Given& given, ConfigDraft& draft) {
  const auto file = given.find(kConfigFlag, kConfigVariable);
  const auto beside = setting_beside_file(given);
  if (file && beside)
    return usage_mistake(*beside + " cannot be combined with " + file->place.file +
                         "; put it into the file, or go without a file");
  if (!file && !beside)
    return usage_mistake("nothing says what to relay; give --listen and --upstream, or --config FILE");
  if (!file) {
    read_flags_and_variables(given, draft);
  } else {
    auto content = read_file(file->text);
    if (!content) return std::move(content).error();
    read_toml(content->text, file->text, draft);
    refuse_secrets_of_open_file(*content, draft);
    apply_password(given, draft);
  }
  apply(given, limits_settings(), draft.limits, draft);
  apply(given, log_settings(), draft.log, draft);
  return std::nullopt;
}

// Adds what cannot be loaded, or is not on this machine, of a configuration that has errors already, so that all are shown
// at once.
void add_errors_of_loading(Reading& reading) {
  auto prepared = prepare(reading.parsed);
  if (!prepared) reading.report.add_later(std::move(prepared.error().report), reading.parsed.origins);
}

}  // namespace

tl::expected<Invocation, EarlyExit> understand(CommandLine line) {
  auto arguments = parse_arguments(std::move(line.arguments));
  if (!arguments) return tl::unexpected(std::move(arguments).error());

  ConfigDraft draft;
  check_variables(line, draft);
  auto ending = read_settings(Given(*arguments, line), draft);
  for (auto& [name, value] : line.environment) tls::wipe(value);
  if (ending) {
    // Variables that are none may be the reason.
    ending->errors.insert(0, draft.report().lines());
    return tl::unexpected(*std::move(ending));
  }

  auto reading = std::move(draft).finish();
  if (reading.report.has_errors()) {
    add_errors_of_loading(reading);
    wipe_secrets(reading.parsed.config);
    return tl::unexpected(EarlyExit{kExitConfig, "", reading.report.text()});
  }
  return Invocation{arguments->command, std::move(reading.parsed)};
}

tl::expected<Invocation, int> parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  if (argc > 1) line.arguments.assign(argv + 1, argv + argc);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    if (const auto end = text.find('='); text.starts_with(kVariablePrefix) && end != std::string_view::npos)
      line.environment.emplace(text.substr(0, end), text.substr(end + 1));
  }
  auto invocation = understand(std::move(line));
  if (invocation) return *std::move(invocation);
  std::cout << invocation.error().output << std::flush;
  std::cerr << invocation.error().errors << std::flush;
  return tl::unexpected(invocation.error().exit_code);
}

}  // namespace pgveil::proxy
