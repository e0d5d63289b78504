#include "proxy/commands/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <regex>
#include <utility>

#include "proxy/commands/certs_arguments.h"
#include "proxy/commands/doctor_arguments.h"
#include "proxy/commands/help.h"
#include "proxy/config/address_values.h"
#include "proxy/config/config_builder.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/config/number_values.h"
#include "proxy/config/settings.h"
#include "proxy/config/toml_reader.h"
#include "proxy/credentials/secret_file.h"
#include "proxy/server/preparation.h"
#include "tls/digest.h"
#include "tls/file_hint.h"

extern char** environ;

namespace pgveil::proxy {
namespace {

using values::in_quotes;
using values::RawValue;

constexpr std::string_view kConfigVariable = "PGVEIL_CONFIG";
constexpr std::string_view kVariablePrefix = "PGVEIL_";
// The name of the upstream of a command line, which has but one.
constexpr const char* kOnlyUpstream = "default";

// --- flags and variables together ---

// The settings that are given outside of the file.
class Overrides {
 public:
  Overrides(const Arguments& arguments, const CommandLine& line)
      : flags_(arguments.flags), variables_(line.environment) {}

  struct Value {
    std::string text;
    SourceLocations::Place place;
  };
  [[nodiscard]] std::optional<Value> find(std::string_view flag, std::string_view variable) const {
    if (const auto found = flags_.find(flag); found != flags_.end())
      return Value{found->second, {found->first, 0}};
    // An empty variable is none: that is how compose files and charts leave one out.
    if (const auto found = variables_.find(variable); found != variables_.end() && !found->second.empty())
      return Value{found->second, {found->first, 0}};
    return std::nullopt;
  }
  // Whether a listener or an upstream is described by an option, and not by variables alone.
  [[nodiscard]] bool has_options() const {
    const auto is_option = [this](const auto& setting) { return flags_.contains(setting.flag()); };
    return std::ranges::any_of(listener_settings(), is_option) ||
           std::ranges::any_of(upstream_settings(), is_option);
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
void apply(const Overrides& overrides, std::span<const Setting<Section>> settings,
           SectionBuilder<Section>& section, ConfigBuilder& builder) {
  for (const auto& setting : settings) {
    auto value = overrides.find(setting);
    if (!value) continue;
    builder.set(section, setting, {RawValue::Kind::untyped, std::move(value->text)}, value->place);
    builder.note_text(section, setting.key, {value->place.file, 1});
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
  std::string key = flag_name(name);
  std::transform(key.begin(), key.end(), key.begin(), [](unsigned char byte) { return std::tolower(byte); });
  const auto setting = setting_of_key(key);
  if (!setting) return "";
  if (!setting->variable.empty()) return "Use " + setting->variable + '.';
  if (setting->key == "port") return "Write the port after the host in PGVEIL_UPSTREAM, such as db01:5433.";
  return "Set " + setting->key + " in the file of --config: it has no variable.";
}

// A variable that is not one of ours would silently do nothing: PGVEIL_SSLCLR checks no revocation list, and
// PGVEIL_HOST names no server.
void check_variables(const CommandLine& line, ConfigBuilder& builder) {
  std::vector<std::string> known{"CONFIG"};
  visit_settings([&known](const char*, const auto& setting) {
    if (const auto name = setting.variable(); !name.empty())
      known.push_back(name.substr(kVariablePrefix.size()));
  });
  for (const auto& [name, value] : line.environment) {
    if (!name.starts_with(kVariablePrefix) || value.empty()) continue;
    auto end = name.substr(kVariablePrefix.size());
    if (std::find(known.begin(), known.end(), end) != known.end() || is_of_kubernetes(end, value)) continue;
    std::transform(end.begin(), end.end(), end.begin(),
                   [](unsigned char byte) { return std::toupper(byte); });
    auto hint = remedy_for_key(end);
    if (hint.empty()) {
      const auto near = values::nearest(end, {known.begin(), known.end()});
      hint = near.empty() ? "Unset it, or see docs/configuration.md for those that there are."
                          : values::did_you_mean(variable_name(flag_name(near)));
    }
    builder.add(value_error("unknown variable " + in_quotes(name), std::move(hint)));
  }
}

// --- the two ways to configure ---

void read_flags_and_variables(const Overrides& overrides, ConfigBuilder& builder) {
  const SourceLocations::Place outside{overrides.has_options() ? kCommandLine : kEnvironment, 0};
  auto& listener = builder.add_listener(outside);
  apply(overrides, listener_settings(), listener, builder);
  for (const auto& setting : listener_settings())
    if (setting.key == "upstream")
      builder.set(listener, setting, {RawValue::Kind::untyped, kOnlyUpstream}, outside);
  apply(overrides, upstream_settings(), builder.add_upstream(kOnlyUpstream, outside), builder);
}

// With a file, the one setting that may still come from outside: a secret does not belong into a file.
void apply_password(const Overrides& overrides, ConfigBuilder& builder) {
  for (const auto& setting : upstream_settings()) {
    if (!setting.secret) continue;
    auto value = overrides.find(setting);
    if (!value) continue;
    bool is_used = false;
    for (auto& upstream : builder.upstreams()) {
      if (!builder.has(upstream, "sslkey") || builder.has(upstream, setting.key)) continue;
      builder.set(upstream, setting, {RawValue::Kind::untyped, value->text}, value->place);
      is_used = true;
    }
    if (!is_used)
      builder.add({value->place.file, 0, "", "has no effect: no upstream has sslkey without sslpassword",
                   "Unset it."});
    tls::wipe(value->text);
  }
}

// A setting of listener or upstream that is given beside a file; nullopt where there is none.
std::optional<std::string> setting_beside_file(const Overrides& overrides) {
  std::optional<std::string> first;
  const auto look = [&](const auto& settings) {
    for (const auto& setting : settings)
      if (const auto value = overrides.find(setting); value && !setting.secret && !first)
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

EarlyExit unreadable_config(const std::string& path, int error) {
  ConfigReport report;
  report.add_error(value_error(
      fmt::format("cannot read the configuration file {}: {}", in_quotes(path), std::strerror(error)),
      tls::file_hint(path, error)));
  return {kExitNoInput, "", report.lines(), report};
}

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
  if (!file || std::ferror(file.get())) return tl::unexpected(unreadable_config(path, errno));
  if (struct stat status{}; ::fstat(::fileno(file.get()), &status) == 0 && !S_ISCHR(status.st_mode))
    content.access_fault = find_access_fault(status, "sslpassword");
  return content;
}

// As with a key file: a person who can read the passphrase need not guess it.
void refuse_secrets_of_open_file(const ConfigFile& file, ConfigBuilder& builder) {
  if (!file.access_fault) return;
  for (const auto& setting : upstream_settings()) {
    if (!setting.secret) continue;
    for (const auto& upstream : builder.upstreams())
      if (builder.has(upstream, setting.key))
        builder.add_at(upstream, setting.key, "the file " + file.access_fault->message,
                       file.access_fault->hint);
  }
}

// Fills the builder from wherever the command line says; an EarlyExit where that cannot even be begun.
std::optional<EarlyExit> read_settings(const Overrides& overrides, ConfigBuilder& builder) {
  const auto file = overrides.find(kConfigFlag, kConfigVariable);
  const auto beside = setting_beside_file(overrides);
  if (file && beside)
    return usage_error(*beside + " cannot be combined with " + file->place.file,
                       "Write the setting into the file, or use no file.");
  if (!file && !beside)
    return usage_error("no configuration is given", "Give --listen and --upstream, or --config FILE.");
  if (!file) {
    read_flags_and_variables(overrides, builder);
  } else {
    auto content = read_file(file->text);
    if (!content) return std::move(content).error();
    read_toml(content->text, file->text, builder);
    refuse_secrets_of_open_file(*content, builder);
    apply_password(overrides, builder);
  }
  apply(overrides, limits_settings(), builder.limits, builder);
  apply(overrides, log_settings(), builder.log, builder);
  apply(overrides, audit_settings(), builder.audit, builder);
  apply(overrides, reload_settings(), builder.reload, builder);
  apply(overrides, admin_settings(), builder.admin, builder);
  return std::nullopt;
}

// Adds what cannot be loaded, or is not on this machine, of a configuration that has errors already, so that all are shown
// at once.
void add_errors_of_loading(ParseResult& result) {
  auto prepared = prepare(result.parsed);
  if (!prepared) result.report.add_later(std::move(prepared.error().report), result.parsed.locations);
}

// --- the commands that ask a running pgveil ---

EarlyExit invalid_value(const Arguments& arguments, const std::string& name, const std::string& text,
                        const ConfigError& error) {
  return usage_error(fmt::format("invalid value {} of {}: {}", in_quotes(text), name, error.message),
                     error.hint, name_of(arguments.command));
}

tl::expected<SocketAddress, EarlyExit> read_admin_address(const Arguments& arguments,
                                                          const CommandLine& line) {
  constexpr const char* kVariable = "PGVEIL_ADMIN_ADDRESS";
  const auto variable = line.environment.find(kVariable);
  const bool is_variable = arguments.admin_address.empty() && variable != line.environment.end();
  const std::string address = is_variable ? variable->second : arguments.admin_address;
  if (address.empty())
    return tl::unexpected(usage_error(fmt::format("{} requires --admin", name_of(arguments.command)),
                                      "Give the address of [admin], or set PGVEIL_ADMIN_ADDRESS.",
                                      name_of(arguments.command)));
  auto parsed = values::AdminAddress::read({RawValue::Kind::untyped, address});
  if (parsed) return *std::move(parsed);
  return tl::unexpected(
      invalid_value(arguments, is_variable ? kVariable : "--admin", address, parsed.error()));
}

tl::expected<std::chrono::milliseconds, EarlyExit> read_timeout(const Arguments& arguments) {
  using Timeout = values::Duration<std::chrono::milliseconds, 1, values::kDay>;
  if (arguments.timeout.empty()) return std::chrono::milliseconds(1'000);
  auto timeout = Timeout::read({RawValue::Kind::untyped, arguments.timeout});
  if (timeout) return *timeout;
  return tl::unexpected(invalid_value(arguments, "--timeout", arguments.timeout, timeout.error()));
}

// The page that `pgveil probe` asks for.
tl::expected<std::string, EarlyExit> read_probed_page(const Arguments& arguments) {
  static const std::map<std::string, std::string> pages{
      {"live", "/livez"}, {"ready", "/readyz"}, {"startup", "/startupz"}};
  const auto page = pages.find(arguments.probed);
  if (page != pages.end()) return page->second;
  return tl::unexpected(usage_error(arguments.probed.empty() ? "probe requires live, ready or startup"
                                                             : "unknown probe " + in_quotes(arguments.probed),
                                    "For example: pgveil probe ready --admin 127.0.0.1:9187", "probe"));
}

tl::expected<Probe, EarlyExit> read_probe(const Arguments& arguments) {
  auto page = read_probed_page(arguments);
  if (!page) return tl::unexpected(std::move(page).error());
  if (!arguments.of_upstreams) return Probe{.address = {}, .page = *std::move(page)};
  if (arguments.probed == "ready") return Probe{.address = {}, .page = *page + "?upstream=1"};
  return tl::unexpected(
      usage_error("--upstream requires ready", "Only readiness may depend on upstreams.", "probe"));
}

bool is_session_key(std::string_view key) {
  return std::ranges::find(session_keys(), key) != session_keys().end();
}

EarlyExit unknown_key(std::string_view option, const std::string& key) {
  return usage_error(fmt::format("unknown column {} in {}", in_quotes(key), option),
                     fmt::format("The columns are {}.", fmt::join(session_keys(), ", ")), "sessions");
}

tl::expected<SessionsQuery, EarlyExit> read_sessions_query(const Arguments& arguments) {
  SessionsQuery query;
  if (!arguments.sort.empty()) query.sort = arguments.sort;
  if (!is_session_key(query.sort)) return tl::unexpected(unknown_key("--sort", query.sort));
  for (const std::string& text : arguments.filters) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos)
      return tl::unexpected(usage_error(fmt::format("invalid value {} of --filter", in_quotes(text)),
                                        "Write a column, \"=\", and a pattern: --filter user=billing",
                                        "sessions"));
    query.filters.push_back({text.substr(0, equals), text.substr(equals + 1)});
    if (!is_session_key(query.filters.back().key))
      return tl::unexpected(unknown_key("--filter", query.filters.back().key));
  }
  return query;
}

tl::expected<Invocation, EarlyExit> read_query(const Arguments& arguments, const CommandLine& line) {
  Invocation invocation{.command = arguments.command, .parsed = {}};
  if (arguments.command == Command::probe) {
    auto probe = read_probe(arguments);
    if (!probe) return tl::unexpected(std::move(probe).error());
    invocation.probe = *std::move(probe);
  }
  if (arguments.command == Command::sessions) {
    auto query = read_sessions_query(arguments);
    if (!query) return tl::unexpected(std::move(query).error());
    invocation.sessions = *std::move(query);
  }
  if (arguments.command == Command::terminate && arguments.session.empty())
    return tl::unexpected(usage_error("terminate requires the name of a session",
                                      "`pgveil sessions` lists them, and the log shows them as session=...",
                                      "terminate"));
  invocation.termination.session = arguments.session;
  invocation.status.as_json = invocation.sessions.as_json = arguments.as_json;
  invocation.status.watches = invocation.sessions.watches = arguments.watches;
  auto address = read_admin_address(arguments, line);
  if (!address) return tl::unexpected(std::move(address).error());
  const auto patience = read_timeout(arguments);
  if (!patience) return tl::unexpected(patience.error());
  const auto set = [&](auto& query) {
    query.address = *address;
    query.patience = *patience;
  };
  set(invocation.probe);
  set(invocation.status);
  set(invocation.sessions);
  set(invocation.termination);
  return invocation;
}

tl::expected<Invocation, EarlyExit> read_generate(const Arguments& arguments) {
  if (const auto what = generated_of(arguments.generated))
    return Invocation{.command = Command::generate, .parsed = {}, .generated = *what};
  return tl::unexpected(
      usage_error(arguments.generated.empty() ? "generate requires the name of what to print"
                                              : "generate cannot print " + in_quotes(arguments.generated),
                  fmt::format("The names are {}.", fmt::join(generated_names(), ", ")), "generate"));
}

// Whether `doctor` examines the servers of a configuration, which is read as for `run`.
bool examines_configuration(const Arguments& arguments, const CommandLine& line) {
  const auto variable = line.environment.find(kConfigVariable);
  const bool has_variable = variable != line.environment.end() && !variable->second.empty();
  return !describes_server(arguments.doctor) && arguments.doctor.chain_file.empty() &&
         (arguments.flags.contains(kConfigFlag) || has_variable);
}

// A server that the options of `doctor` describe; no configuration is read.
tl::expected<Invocation, EarlyExit> read_doctor(const Arguments& arguments, const CommandLine& line) {
  const auto fail = [](const char* message, const char* hint) {
    return tl::unexpected(usage_error(message, hint, "doctor"));
  };
  const bool has_server = describes_server(arguments.doctor);
  if (has_server && arguments.flags.contains(kConfigFlag))
    return fail("a server cannot be combined with --config",
                "Leave one of them out: --config examines all upstreams.");
  if (!has_server && !arguments.doctor.chain_file.empty())
    return fail("--save-chain requires a single server",
                "Write pgveil doctor HOST[:PORT] --save-chain FILE.");
  if (!has_server)
    return fail("doctor requires a server or a configuration",
                "Write pgveil doctor HOST[:PORT], or pgveil doctor --config FILE.");
  const auto variable = [&](const char* name) {
    const auto found = line.environment.find(name);
    return found == line.environment.end() ? std::string() : found->second;
  };
  DoctorVariables variables{.sslpassword = variable("PGVEIL_SSLPASSWORD"),
                            .password = variable("PGPASSWORD"),
                            .passfile = variable("PGPASSFILE"),
                            .home = variable("HOME")};
  auto request = read_doctor_request(arguments.doctor, variables);
  tls::wipe(variables.sslpassword);
  tls::wipe(variables.password);
  if (!request) return tl::unexpected(std::move(request).error());
  return Invocation{.command = Command::doctor, .parsed = {}, .doctor = *std::move(request)};
}

}  // namespace

tl::expected<Invocation, EarlyExit> parse_command_line(CommandLine line) {
  auto arguments = parse_arguments(std::move(line.arguments), line.width);
  if (!arguments) return tl::unexpected(std::move(arguments).error());
  if (arguments->command == Command::certs) {
    auto request = read_certs_request(arguments->certs);
    if (!request) return tl::unexpected(std::move(request).error());
    return Invocation{.command = Command::certs, .parsed = {}, .certs = *std::move(request)};
  }
  if (arguments->command == Command::generate) return read_generate(*arguments);
  if (arguments->command == Command::doctor && !examines_configuration(*arguments, line)) {
    auto invocation = read_doctor(*arguments, line);
    tls::wipe(arguments->doctor.server);  // a connection string may hold a password
    for (auto& [name, value] : line.environment) tls::wipe(value);
    return invocation;
  }
  const bool has_configuration = arguments->command == Command::run || arguments->command == Command::check ||
                                 arguments->command == Command::explain ||
                                 arguments->command == Command::doctor;
  if (!has_configuration) return read_query(*arguments, line);

  ConfigBuilder builder;
  check_variables(line, builder);
  auto ending = read_settings(Overrides(*arguments, line), builder);
  for (auto& [name, value] : line.environment) tls::wipe(value);
  if (ending) {
    // Variables that are none may be the reason.
    ending->errors.insert(0, builder.report().lines());
    ending->report.add(builder.report());
    return tl::unexpected(*std::move(ending));
  }

  auto result = std::move(builder).finish();
  if (result.report.has_errors()) {
    add_errors_of_loading(result);
    wipe_secrets(result.parsed.config);
    return tl::unexpected(EarlyExit{kExitConfig, "", result.report.text(), result.report});
  }
  auto doctor = configured_doctor_request(arguments->doctor);
  if (!doctor) {
    wipe_secrets(result.parsed.config);
    return tl::unexpected(std::move(doctor).error());
  }
  return Invocation{.command = arguments->command,
                    .parsed = std::move(result.parsed),
                    .explain = std::move(arguments->explain),
                    .doctor = *std::move(doctor)};
}

namespace {

// Beside the variables of pgveil those of libpq that `doctor` uses.
bool is_read(std::string_view name) {
  return name.starts_with(kVariablePrefix) || name == "PGPASSWORD" || name == "PGPASSFILE" || name == "HOME";
}

CommandLine command_line_of(int argc, const char* const* argv) {
  CommandLine line;
  if (argc > 1) line.arguments.assign(argv + 1, argv + argc);
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    const auto end = text.find('=');
    if (end != std::string_view::npos && is_read(text.substr(0, end)))
      line.environment.emplace(text.substr(0, end), text.substr(end + 1));
  }
  return line;
}

}  // namespace

tl::expected<Invocation, int> parse_command_line(int argc, const char* const* argv) {
  CommandLine line = command_line_of(argc, argv);
  line.width = terminal_width();
  auto invocation = parse_command_line(std::move(line));
  if (invocation) return *std::move(invocation);
  std::cout << invocation.error().output << std::flush;
  std::cerr << invocation.error().errors << std::flush;
  return tl::unexpected(invocation.error().exit_code);
}

tl::expected<ParsedConfig, ConfigReport> read_configuration(int argc, const char* const* argv) {
  auto invocation = parse_command_line(command_line_of(argc, argv));
  if (invocation) return std::move(invocation->parsed);
  return tl::unexpected(std::move(invocation.error().report));
}

}  // namespace pgveil::proxy
