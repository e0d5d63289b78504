#include "proxy/commands/certs_arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "proxy/commands/certificate_names.h"
#include "proxy/commands/revoked_list.h"
#include "proxy/config/values.h"

namespace pgveil::proxy {
namespace {

using Action = CertsRequest::Action;
using values::in_quotes;

constexpr std::array<std::pair<std::string_view, Action>, 7> kActions{{{"ca", Action::ca},
                                                                       {"server", Action::server},
                                                                       {"client", Action::client},
                                                                       {"renew", Action::renew},
                                                                       {"revoke", Action::revoke},
                                                                       {"crl", Action::crl},
                                                                       {"show", Action::show}}};
constexpr const char* kDirectory = "certs";

// --- the options ---

CLI::App& add_action(CLI::App& certs, CertsArguments& arguments, const char* name, const char* effect) {
  CLI::App& action = *certs.add_subcommand(name, effect);
  action.group("Commands");
  action.allow_extras();
  action.callback([&arguments, name] { arguments.action = name; });
  return action;
}

void add_list(CLI::App& action, const char* name, std::vector<std::string>& list, const char* type,
              const char* effect) {
  action.add_option(name, list, effect)
      ->type_name(type)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_directory(CLI::App& action, CertsArguments& arguments, const char* effect) {
  action.add_option("--dir", arguments.directory, effect)->type_name("directory");
}

void add_days(CLI::App& action, CertsArguments& arguments, const char* effect) {
  action.add_option("--days", arguments.days, effect)->type_name("number");
}

void add_key(CLI::App& action, CertsArguments& arguments) {
  action
      .add_option("--key", arguments.key,
                  fmt::format("The kind of the private key: {} (default: p256).", tls::kNewKeyNames))
      ->type_name("kind");
}

void add_options_of_leaf(CLI::App& action, CertsArguments& arguments, const char* output) {
  add_directory(action, arguments, "The directory of the authority (default: certs).");
  action.add_option("--out", arguments.output, output)->type_name("path");
  add_key(action, arguments);
  add_days(action, arguments,
           "The days for which the certificate is valid (default: 365, or until the authority expires).");
}

void add_files(CLI::App& action, CertsArguments& arguments, const char* effect) {
  action.add_option("file", arguments.files, effect)->type_name("");
}

void add_server(CLI::App& certs, CertsArguments& arguments) {
  CLI::App& action = add_action(certs, arguments, "server", "Makes a key and a certificate for a server.");
  add_list(
      action, "--host", arguments.hosts, "name",
      "A host name by which clients connect, such as db01.example.com or *.example.com; may be given several times.");
  add_list(action, "--ip", arguments.addresses, "address",
           "An IP address by which clients connect; may be given several times.");
  add_options_of_leaf(
      action, arguments,
      "The path of the new files without .crt and .key; a relative path begins at --dir (default: "
      "the first name of --host or --ip).");
}

void add_client(CLI::App& certs, CertsArguments& arguments) {
  CLI::App& action = add_action(certs, arguments, "client", "Makes a key and a certificate for a client.");
  action.add_option("--user", arguments.user, "The database user: the common name (CN) of the certificate.")
      ->type_name("name");
  action
      .add_option("--spiffe", arguments.spiffe, "The SPIFFE ID of a workload, for rules with clientname=URI.")
      ->type_name("uri");
  add_list(action, "--email", arguments.emails, "address",
           "An e-mail address, for rules with clientname=EMAIL; may be given several times.");
  add_list(action, "--host", arguments.hosts, "name",
           "A host name of the client, for rules with clientname=DNS; may be given several times.");
  add_options_of_leaf(
      action, arguments,
      "The path of the new files without .crt and .key; a relative path begins at --dir (default: "
      "the name of --user).");
}

void add_authority(CLI::App& certs, CertsArguments& arguments) {
  CLI::App& action = add_action(certs, arguments, "ca", "Makes a development authority: ca.crt and ca.key.");
  add_directory(action, arguments,
                "The directory of the authority, which is created if it does not exist (default: certs).");
  action
      .add_option("--name", arguments.name,
                  "The common name of the authority (default: pgveil development CA, and a random number).")
      ->type_name("name");
  add_key(action, arguments);
  add_days(action, arguments, "The days for which the authority is valid (default: 3650).");
}

void add_actions_on_files(CLI::App& certs, CertsArguments& arguments) {
  const char* directory = "The directory of the authority (default: that of the file).";
  const char* crl_days = "The days for which the CRL is valid (default: 90, or until the authority expires).";
  CLI::App& renew =
      add_action(certs, arguments, "renew", "Replaces a certificate: same names and key, new dates.");
  add_files(renew, arguments, "The certificate to replace, also ca.crt.");
  add_directory(renew, arguments, directory);
  add_days(
      renew, arguments,
      "The days for which the certificate is valid (default: as many as before, or until the authority expires).");
  CLI::App& revoke = add_action(certs, arguments, "revoke", "Revokes certificates, and writes a new ca.crl.");
  add_files(revoke, arguments, "The certificates to revoke. All others with their keys are revoked, too.");
  add_list(revoke, "--serial", arguments.serials, "hex",
           "The serial number of a certificate whose file is lost; may be given several times.");
  add_directory(revoke, arguments, directory);
  add_days(revoke, arguments, crl_days);
  CLI::App& crl =
      add_action(certs, arguments, "crl", "Writes a new ca.crl: the CRL of all revoked certificates.");
  add_directory(crl, arguments, "The directory of the authority (default: certs).");
  add_days(crl, arguments, crl_days);
  CLI::App& show =
      add_action(certs, arguments, "show", "Shows what certificates, CRLs and keys are good for.");
  add_files(show, arguments, "Files of certificates, CRLs or keys (PEM).");
  show.add_flag("--json", arguments.as_json, "Prints JSON.");
}

// --- their values ---

std::string command_of(const CertsArguments& arguments) {
  return "certs " + arguments.action;
}

EarlyExit error_of(const CertsArguments& arguments, const ConfigError& error) {
  return usage_error(error.message, error.hint, command_of(arguments));
}

EarlyExit missing(const CertsArguments& arguments, const char* what, const char* example) {
  return usage_error(fmt::format("certs {} requires {}", arguments.action, what),
                     fmt::format("For example: pgveil certs {} {}", arguments.action, example),
                     command_of(arguments));
}

std::optional<EarlyExit> read_names(const CertsArguments& arguments, const std::vector<std::string>& texts,
                                    ReadName (*read)(const std::string&), std::vector<std::string>& names) {
  for (const std::string& text : texts) {
    auto name = read(text);
    if (!name) return error_of(arguments, name.error());
    if (std::ranges::find(names, *name) == names.end()) names.push_back(*std::move(name));
  }
  return std::nullopt;
}

std::optional<EarlyExit> read_days(const CertsArguments& arguments, std::optional<int>& days) {
  constexpr int kMaxDays = 36'500;
  if (arguments.days.empty()) return std::nullopt;
  int number = 0;
  const char* const end = arguments.days.data() + arguments.days.size();
  const auto [stop, error] = std::from_chars(arguments.days.data(), end, number);
  if (error != std::errc() || stop != end || number < 1 || number > kMaxDays)
    return usage_error(fmt::format("invalid value {} of --days", in_quotes(arguments.days)),
                       fmt::format("Use 1 to {}.", kMaxDays), command_of(arguments));
  days = number;
  return std::nullopt;
}

std::optional<EarlyExit> read_key(const CertsArguments& arguments, tls::NewKey& key) {
  if (arguments.key.empty()) return std::nullopt;
  const auto known = tls::new_key_of(arguments.key);
  if (!known)
    return usage_error(fmt::format("invalid value {} of --key", in_quotes(arguments.key)),
                       fmt::format("Use {}.", tls::kNewKeyNames), command_of(arguments));
  key = *known;
  return std::nullopt;
}

// The name of the files for a name of the certificate: "wildcard.example.com" for "*.example.com".
std::string file_name_of(const std::string& name) {
  return name.starts_with("*.") ? "wildcard" + name.substr(1) : name;
}

std::optional<EarlyExit> read_output(const CertsArguments& arguments, const std::string& name,
                                     CertsRequest& request) {
  request.output = arguments.output.empty() ? file_name_of(name) : arguments.output;
  const std::string hint =
      "Write --out and a path without .crt and .key, such as --out " + arguments.action + '.';
  if (arguments.output.empty() &&
      (request.output.find('/') != std::string::npos || request.output.starts_with('.')))
    return usage_error(fmt::format("{} cannot be the name of a file", in_quotes(name)), hint,
                       command_of(arguments));
  if (request.output.ends_with('/') || request.output.ends_with(".crt") || request.output.ends_with(".key"))
    return usage_error(fmt::format("invalid value {} of --out", in_quotes(request.output)), hint,
                       command_of(arguments));
  if (request.output == "ca" || request.output == "./ca")
    return usage_error("ca.crt and ca.key are the files of the authority", hint, command_of(arguments));
  return std::nullopt;
}

// Old programs look for the name of a server in the common name. One that is too long for it is only among the alternative names.
std::string common_name_of(const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (name.size() <= tls::kMaxCommonNameLength) return name;
  return "";
}

std::optional<EarlyExit> read_server(const CertsArguments& arguments, CertsRequest& request) {
  tls::NewCertificate& certificate = request.certificate;
  certificate.role = tls::NewCertificate::Role::server;
  if (arguments.hosts.empty() && arguments.addresses.empty())
    return missing(arguments, "--host or --ip", "--host db01.example.com --ip 192.0.2.1");
  if (auto error = read_names(arguments, arguments.hosts, read_certificate_host, certificate.dns_names))
    return error;
  if (auto error =
          read_names(arguments, arguments.addresses, read_certificate_address, certificate.ip_addresses))
    return error;
  const auto& names = certificate.dns_names.empty() ? arguments.addresses : certificate.dns_names;
  certificate.common_name = common_name_of(names);
  return read_output(arguments, names.front(), request);
}

std::optional<EarlyExit> read_client(const CertsArguments& arguments, CertsRequest& request) {
  tls::NewCertificate& certificate = request.certificate;
  certificate.role = tls::NewCertificate::Role::client;
  if (arguments.user.empty()) return missing(arguments, "--user", "--user billing");
  auto user = read_database_user(arguments.user);
  if (!user) return error_of(arguments, user.error());
  certificate.common_name = *std::move(user);
  if (!arguments.spiffe.empty())
    if (auto error = read_names(arguments, {arguments.spiffe}, read_spiffe_id, certificate.uris))
      return error;
  if (auto error = read_names(arguments, arguments.emails, read_email, certificate.emails)) return error;
  if (auto error = read_names(arguments, arguments.hosts, read_certificate_host, certificate.dns_names))
    return error;
  return read_output(arguments, certificate.common_name, request);
}

std::optional<EarlyExit> read_authority(const CertsArguments& arguments, CertsRequest& request) {
  if (arguments.name.empty()) return std::nullopt;
  auto name = read_authority_name(arguments.name);
  if (!name) return error_of(arguments, name.error());
  request.name = *std::move(name);
  return std::nullopt;
}

// As openssl and psql print them: "0A:1B", "0a1b" or "A1B".
std::optional<std::string> read_serial(std::string text) {
  constexpr std::size_t kMaxDigits = 40;  // RFC 5280, 4.1.2.2
  std::erase(text, ':');
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  text.erase(0, text.find_first_not_of('0'));
  if (text.size() % 2 == 1) text.insert(0, 1, '0');
  if (!is_serial(text) || text.size() > kMaxDigits) return std::nullopt;
  return text;
}

std::optional<EarlyExit> read_serials(const CertsArguments& arguments, std::vector<std::string>& serials) {
  for (const std::string& text : arguments.serials) {
    auto serial = read_serial(text);
    if (!serial)
      return usage_error(fmt::format("invalid value {} of --serial", in_quotes(text)),
                         "Use a number in hexadecimal, as \"pgveil certs show\" prints it.",
                         command_of(arguments));
    serials.push_back(*std::move(serial));
  }
  return std::nullopt;
}

std::optional<EarlyExit> read_files(const CertsArguments& arguments, CertsRequest& request) {
  request.files = arguments.files;
  if (auto error = read_serials(arguments, request.serials)) return error;
  if (request.files.empty() && !request.serials.empty()) return std::nullopt;
  if (request.files.empty()) return missing(arguments, "a file", "certs/billing.crt");
  if (request.action == Action::renew && request.files.size() > 1)
    return usage_error("certs renew takes one file", "Run it once for each file.", command_of(arguments));
  return std::nullopt;
}

std::optional<EarlyExit> read_names_and_files(const CertsArguments& arguments, CertsRequest& request) {
  switch (request.action) {
    case Action::ca: return read_authority(arguments, request);
    case Action::server: return read_server(arguments, request);
    case Action::client: return read_client(arguments, request);
    case Action::renew:
    case Action::revoke:
    case Action::show: return read_files(arguments, request);
    case Action::crl: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

CLI::App& add_certs(CLI::App& app, CertsArguments& arguments) {
  CLI::App& certs =
      *app.add_subcommand("certs", "Makes certificates for development: an authority, servers and clients.");
  certs.group("Commands");
  certs.allow_extras();
  add_authority(certs, arguments);
  add_server(certs, arguments);
  add_client(certs, arguments);
  add_actions_on_files(certs, arguments);
  return certs;
}

tl::expected<CertsRequest, EarlyExit> read_certs_request(const CertsArguments& arguments) {
  const auto* const action =
      std::ranges::find(kActions, arguments.action, &std::pair<std::string_view, Action>::first);
  if (action == kActions.end())
    return tl::unexpected(usage_error("certs requires a command", std::string(kCertsActions), "certs"));
  CertsRequest request;
  request.action = action->second;
  request.as_json = arguments.as_json;
  request.directory = arguments.directory;
  const bool has_file =
      request.action == Action::renew ||
      (request.action == Action::revoke && (!arguments.files.empty() || arguments.serials.empty()));
  if (request.directory.empty() && !has_file) request.directory = kDirectory;
  if (auto error = read_days(arguments, request.days)) return tl::unexpected(*std::move(error));
  if (auto error = read_key(arguments, request.key)) return tl::unexpected(*std::move(error));
  if (auto error = read_names_and_files(arguments, request)) return tl::unexpected(*std::move(error));
  return request;
}

}  // namespace pgveil::proxy
