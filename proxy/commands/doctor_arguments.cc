#include "proxy/commands/doctor_arguments.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "proxy/config/address_values.h"
#include "proxy/config/number_values.h"
#include "proxy/config/password_filter.h"
#include "proxy/config/word_values.h"

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

}  // namespace

void add_doctor_options(CLI::App& command, DoctorArguments& arguments) {
  const auto add = [&](const char* name, std::string& value, const char* type, const char* effect) {
    command.add_option(name, value, effect)->type_name(type);
  };
  add("server", arguments.server, "",
      "The server as HOST or HOST:PORT (default port: 5432); several are separated by commas.");
  add("--hostaddr", arguments.hostaddr, "address",
      "The numeric address to connect to; the name of the server is then not resolved.");
  add("--sslrootcert", arguments.sslrootcert, "path",
      "The CA certificates to trust (PEM), or system (the default) for those of the system.");
  add("--sslcert", arguments.sslcert, "path", "Our certificate for the server, with its chain (PEM).");
  add("--sslkey", arguments.sslkey, "path", "The private key of --sslcert.");
  add("--sslnegotiation", arguments.sslnegotiation, "postgres|direct",
      "Asks for TLS with SSLRequest, or begins with TLS (default: postgres).");
  add("--connect-timeout", arguments.connect_timeout, "duration",
      "How long each address may take (default: 5s).");
  command.add_flag("--json", arguments.as_json, "Prints JSON.");
}

bool describes_server(const DoctorArguments& arguments) {
  return !arguments.server.empty();
}

tl::expected<DoctorRequest, EarlyExit> read_doctor_request(const DoctorArguments& arguments,
                                                           const std::string& sslpassword) {
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
  config.tls.sslrootcert =
      arguments.sslrootcert.empty() ? std::string(tls::kSystemTrust) : arguments.sslrootcert;
  config.tls.sslcert = arguments.sslcert;
  config.tls.sslkey = arguments.sslkey;
  config.tls.sslpassword = sslpassword;
  return DoctorRequest{.server = std::move(config), .as_json = arguments.as_json};
}

}  // namespace pgveil::proxy
