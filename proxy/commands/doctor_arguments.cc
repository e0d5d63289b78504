#include "proxy/commands/doctor_arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "proxy/config/address_values.h"
#include "proxy/config/connection_string.h"
#include "proxy/config/list_values.h"
#include "proxy/config/number_values.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/word_values.h"
#include "proxy/doctor/sslmode_forecast.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;
using values::RawValue;

RawValue raw(const std::string& text) {
  return {RawValue::Kind::untyped, text};
}

EarlyExit invalid(const std::string& name, const std::string& text, const ConfigError& error) {
  if (values::may_hold_password(text))
    return usage_error(fmt::format("invalid value of {}", name), "", "doctor");
  return usage_error(fmt::format("invalid value {} of {}: {}", in_quotes(text), name, error.message),
                     error.hint, "doctor");
}

// Reads a value into `target` unless it is not given. Returns the error, if any.
template <class Kind, class Target>
std::optional<EarlyExit> read_option(const char* name, const std::string& text, Target& target) {
  if (text.empty()) return std::nullopt;
  auto value = Kind::read(raw(text));
  if (!value) return invalid(name, text, value.error());
  target = *std::move(value);
  return std::nullopt;
}

std::optional<EarlyExit> read_servers(const std::string& text, std::vector<UpstreamHost>& hosts) {
  const auto servers = values::read_hosts_and_ports(raw(text));
  if (!servers) return invalid("the server", text, servers.error());
  for (std::size_t i = 0; i < servers->hosts.size(); ++i)
    hosts.push_back({.host = servers->hosts[i], .hostaddr = "", .port = servers->ports[i]});
  return std::nullopt;
}

std::optional<EarlyExit> read_addresses(const std::string& text, std::vector<UpstreamHost>& hosts) {
  std::vector<std::string> addresses;
  if (auto error = read_option<values::NumericAddressList>("--hostaddr", text, addresses)) return error;
  if (addresses.empty()) return std::nullopt;
  if (addresses.size() != hosts.size())
    return usage_error("--hostaddr requires one address for each server", "", "doctor");
  for (std::size_t i = 0; i < hosts.size(); ++i) hosts[i].hostaddr = addresses[i];
  return std::nullopt;
}

LoginRequest login_of(const DoctorArguments& arguments) {
  return {.user = arguments.user, .database = arguments.dbname};
}

// The order is that of libpq (fe-connect.c: pqConnectOptions2): the connection string, PGPASSWORD, the password file.
LoginRequest login_of(const DoctorArguments& arguments, std::shared_ptr<const protocol::SecretText> password,
                      const DoctorVariables& variables) {
  LoginRequest login = login_of(arguments);
  if (password) {
    login.password = std::move(password);
    login.password_source = "the connection string";
  } else if (!variables.password.empty()) {
    login.password = std::make_shared<const protocol::SecretText>(variables.password);
    login.password_source = "PGPASSWORD";
  }
  return login;
}

// Returns the modes to forecast: one, or all of them.
tl::expected<std::vector<std::string>, EarlyExit> sslmodes_of(const DoctorArguments& arguments) {
  const std::vector<std::string> all = sslmode_names();
  if (arguments.sslmode.empty()) return std::vector<std::string>();
  if (arguments.sslmode == "all") return all;
  if (std::ranges::find(all, arguments.sslmode) != all.end()) return std::vector{arguments.sslmode};
  return tl::unexpected(
      usage_error(fmt::format("invalid value {} of --sslmode", in_quotes(arguments.sslmode)),
                  fmt::format("Use all or one of {}.", fmt::join(all, ", ")), "doctor"));
}

// Without a user no login is begun.
void add_notes_without_user(const DoctorArguments& arguments, std::vector<std::string>& notes) {
  if (!arguments.user.empty()) return;
  if (!arguments.dbname.empty()) notes.emplace_back("dbname has no effect without user");
  if (!arguments.passfile.empty()) notes.emplace_back("passfile has no effect without user");
}

// The password file that libpq would take if none is given.
std::string default_passfile(const DoctorVariables& variables) {
  if (!variables.passfile.empty()) return variables.passfile;
  return variables.home.empty() ? "" : variables.home + "/.pgpass";
}

// --- a connection string in place of the server ---

// What a connection string says, and what it says without an effect.
struct Expanded {
  DoctorArguments arguments;
  std::shared_ptr<const protocol::SecretText> sslpassword = nullptr;  // null: not given
  std::shared_ptr<const protocol::SecretText> password = nullptr;
  std::vector<std::string> notes = {};
};

// The fields for parameters that have an option of the same meaning. An option overrides its parameter.
constexpr std::array<std::pair<std::string_view, std::string DoctorArguments::*>, 13> kParameters{
    {{"hostaddr", &DoctorArguments::hostaddr},
     {"sslrootcert", &DoctorArguments::sslrootcert},
     {"sslcert", &DoctorArguments::sslcert},
     {"sslkey", &DoctorArguments::sslkey},
     {"sslnegotiation", &DoctorArguments::sslnegotiation},
     {"user", &DoctorArguments::user},
     {"dbname", &DoctorArguments::dbname},
     {"passfile", &DoctorArguments::passfile},
     {"sslcrl", &DoctorArguments::sslcrl},
     {"sslcrldir", &DoctorArguments::sslcrldir},
     {"sslmode", &DoctorArguments::sslmode},
     {"channel_binding", &DoctorArguments::channel_binding},
     {"require_auth", &DoctorArguments::require_auth}}};

// Returns host and port of each server, as --upstream takes them.
std::string servers_of(const std::string& hosts, const std::string& ports) {
  const auto names = values::split(hosts, ',');
  const auto numbers = values::split(ports.empty() ? "5432" : ports, ',');
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool needs_brackets = names[i].find(':') != std::string::npos;
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", needs_brackets ? '[' + names[i] + ']' : names[i],
                        numbers[std::min(i, numbers.size() - 1)]);
  }
  return text;
}

// Returns the secret, and wipes the original; null: it is empty.
std::shared_ptr<const protocol::SecretText> take_secret(std::string& value) {
  auto secret = value.empty() ? nullptr : std::make_shared<const protocol::SecretText>(value);
  tls::wipe(value);
  return secret;
}

// Takes over connect_timeout, a number of seconds. libpq waits without a limit if it is 0 or negative.
std::optional<EarlyExit> expand_connect_timeout(const std::string& value, Expanded& expanded) {
  int seconds = 0;
  const char* const end = value.data() + value.size();
  const auto read = std::from_chars(value.data(), end, seconds);
  if (read.ec != std::errc() || read.ptr != end)
    return usage_error(fmt::format("invalid value {} of connect_timeout", in_quotes(value)),
                       "Use a number of seconds.", "doctor");
  if (seconds <= 0)
    expanded.notes.push_back(
        fmt::format("connect_timeout={} is ignored: doctor does not wait without a limit", seconds));
  else if (expanded.arguments.connect_timeout.empty())
    expanded.arguments.connect_timeout = fmt::format("{}s", seconds);
  return std::nullopt;
}

// Takes over a parameter. Returns the error in its value, if any that is not found later.
std::optional<EarlyExit> expand(const std::string& name, std::string& value, Expanded& expanded) {
  DoctorArguments& arguments = expanded.arguments;
  const auto* known = std::ranges::find(kParameters, name, &decltype(kParameters)::value_type::first);
  if (known != kParameters.end()) {
    std::string& field = arguments.*known->second;
    if (field.empty()) field = value;
  } else if (name == "connect_timeout") {
    return expand_connect_timeout(value, expanded);
  } else if (name == "sslpassword") {
    expanded.sslpassword = take_secret(value);
  } else if (name == "password") {
    expanded.password = take_secret(value);
  } else {
    expanded.notes.push_back(fmt::format("{} is ignored", name));
  }
  return std::nullopt;
}

tl::expected<Expanded, EarlyExit> expanded(const DoctorArguments& arguments) {
  Expanded result{.arguments = arguments};
  if (!is_connection_string(arguments.server)) return result;
  tls::wipe(result.arguments.server);  // it may hold secrets
  auto parameters = parse_connection_string(arguments.server);
  if (!parameters)
    return tl::unexpected(usage_error(parameters.error().message, parameters.error().hint, "doctor"));
  std::string hosts, ports;
  for (auto& [name, value] : *parameters) {
    if (name == "host")
      hosts = value;
    else if (name == "port")
      ports = value;
    else if (auto error = expand(name, value, result))
      return tl::unexpected(*std::move(error));
  }
  if (hosts.empty())
    return tl::unexpected(usage_error("the connection string names no host",
                                      "Add host=NAME, the name of the certificate.", "doctor"));
  result.arguments.server = servers_of(hosts, ports);
  return result;
}

}  // namespace

void add_doctor_options(CLI::App& command, DoctorArguments& arguments) {
  const auto add = [&](const char* name, std::string& value, const char* type, const char* effect) {
    command.add_option(name, value, effect)->type_name(type);
  };
  add("server", arguments.server, "",
      "The server as HOST or HOST:PORT (default port: 5432), several separated by commas; or a connection string "
      "of libpq.");
  add("--hostaddr", arguments.hostaddr, "address",
      "The numeric address to connect to; the name of the server is then not resolved.");
  add("--sslrootcert", arguments.sslrootcert, "path",
      "The CA certificates to trust (PEM), or system (the default) for those of the system.");
  add("--sslcrl", arguments.sslcrl, "path", "A file of CRLs for the certificates of the server (PEM).");
  add("--sslcrldir", arguments.sslcrldir, "path",
      "A directory of CRLs for the certificates of the server, named by openssl rehash.");
  add("--sslcert", arguments.sslcert, "path", "Our certificate for the server, with its chain (PEM).");
  add("--sslkey", arguments.sslkey, "path", "The private key of --sslcert.");
  add("--sslnegotiation", arguments.sslnegotiation, "postgres|direct",
      "Asks for TLS with SSLRequest, or begins with TLS (default: postgres).");
  add("--connect-timeout", arguments.connect_timeout, "duration",
      "How long each address may take (default: 5s).");
  add("--user", arguments.user, "name",
      "Begins a login as this database user, with and without TLS, to see what the server asks for. Completes it over "
      "verified TLS if a password is known: of the connection string, of PGPASSWORD or of a password file.");
  add("--dbname", arguments.dbname, "name", "The database of this login (default: the name of the user).");
  add("--sslmode", arguments.sslmode, "mode",
      "Also shows what this sslmode of libpq would do with the server, or each of them with all, and what it would not "
      "protect against.");
  add("--passfile", arguments.passfile, "path",
      "The password file for --user (default: PGPASSFILE or ~/.pgpass; with --config, passfile of the upstream).");
  add("--save-chain", arguments.chain_file, "path",
      "Saves the certificates that the server has sent in a new file (PEM), not verified.");
  command.add_flag("--json", arguments.as_json, "Prints JSON.");
}

bool describes_server(const DoctorArguments& arguments) {
  return !arguments.server.empty();
}

tl::expected<DoctorRequest, EarlyExit> read_doctor_request(const DoctorArguments& given,
                                                           const DoctorVariables& variables) {
  auto all = expanded(given);
  if (!all) return tl::unexpected(std::move(all).error());
  const DoctorArguments& arguments = all->arguments;
  using Timeout = values::Duration<std::chrono::milliseconds, 1, values::kDay>;
  UpstreamConfig config;
  config.connect_timeout = std::chrono::seconds(5);
  if (auto error = read_servers(arguments.server, config.hosts)) return tl::unexpected(*std::move(error));
  if (auto error = read_addresses(arguments.hostaddr, config.hosts)) return tl::unexpected(*std::move(error));
  if (auto error =
          read_option<Timeout>("--connect-timeout", arguments.connect_timeout, config.connect_timeout))
    return tl::unexpected(*std::move(error));
  if (auto error = read_option<values::OneOf<values::kSslNegotiations>>(
          "--sslnegotiation", arguments.sslnegotiation, config.sslnegotiation))
    return tl::unexpected(*std::move(error));
  if (auto error = read_option<values::OneOf<values::kChannelBindings>>(
          "channel_binding", arguments.channel_binding, config.channel_binding))
    return tl::unexpected(*std::move(error));
  if (auto error =
          read_option<values::AuthMethodList>("require_auth", arguments.require_auth, config.require_auth))
    return tl::unexpected(*std::move(error));
  if (!arguments.chain_file.empty() && config.hosts.size() != 1)
    return tl::unexpected(usage_error("--save-chain requires a single server", "Name one server.", "doctor"));
  config.tls.sslrootcert =
      arguments.sslrootcert.empty() ? std::string(tls::kSystemTrust) : arguments.sslrootcert;
  const auto sslmodes = sslmodes_of(arguments);
  if (!sslmodes) return tl::unexpected(sslmodes.error());
  config.tls.sslcrl = arguments.sslcrl;
  config.tls.sslcrldir = arguments.sslcrldir;
  config.tls.sslcert = arguments.sslcert;
  config.tls.sslkey = arguments.sslkey;
  if (all->password && arguments.user.empty()) all->notes.emplace_back("password has no effect without user");
  add_notes_without_user(arguments, all->notes);
  auto passphrase = variables.sslpassword.empty()
                        ? std::move(all->sslpassword)
                        : std::make_shared<const protocol::SecretText>(variables.sslpassword);
  return DoctorRequest{.server = std::move(config),
                       .key_passphrase = std::move(passphrase),
                       .notes = std::move(all->notes),
                       .login = login_of(arguments, std::move(all->password), variables),
                       .sslmodes = *sslmodes,
                       .passfile = arguments.passfile,
                       .default_passfile = default_passfile(variables),
                       .chain_file = arguments.chain_file,
                       .as_json = arguments.as_json};
}

tl::expected<DoctorRequest, EarlyExit> configured_doctor_request(const DoctorArguments& given) {
  constexpr std::array<std::pair<const char*, std::string DoctorArguments::*>, 8> kOfServer{
      {{"--hostaddr", &DoctorArguments::hostaddr},
       {"--sslrootcert", &DoctorArguments::sslrootcert},
       {"--sslcert", &DoctorArguments::sslcert},
       {"--sslkey", &DoctorArguments::sslkey},
       {"--sslcrl", &DoctorArguments::sslcrl},
       {"--sslcrldir", &DoctorArguments::sslcrldir},
       {"--sslnegotiation", &DoctorArguments::sslnegotiation},
       {"--connect-timeout", &DoctorArguments::connect_timeout}}};
  for (const auto& [option, value] : kOfServer)
    if (!(given.*value).empty())
      return tl::unexpected(usage_error(fmt::format("{} requires a server, and no server is named", option),
                                        "With a configuration, set it in the upstream of the file.",
                                        "doctor"));
  const auto sslmodes = sslmodes_of(given);
  if (!sslmodes) return tl::unexpected(sslmodes.error());
  std::vector<std::string> notes;
  add_notes_without_user(given, notes);
  return DoctorRequest{.server = std::nullopt,
                       .key_passphrase = nullptr,
                       .notes = std::move(notes),
                       .login = login_of(given),
                       .sslmodes = *sslmodes,
                       .passfile = given.passfile,
                       .default_passfile = {},
                       .chain_file = {},
                       .as_json = given.as_json};
}

}  // namespace pgveil::proxy
