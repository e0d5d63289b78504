#include "proxy/commands/check.h"

#include <fmt/format.h>

#include <iostream>
#include <optional>

#include "proxy/base/exit_code.h"
#include "proxy/commands/host_text.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/login/login_forecast.h"
#include "proxy/server/preparation.h"

namespace pgveil::proxy {
namespace {

std::string versions_of(tls::Version min, std::optional<tls::Version> max) {
  const std::string oldest(tls::name_of(min));
  if (!max) return oldest + " or newer";
  return oldest + " to " + std::string(tls::name_of(*max));
}

std::string tls_of(const UpstreamConfig& upstream) {
  if (!upstream.uses_tls()) return "no TLS";
  const auto& settings = upstream.tls;
  std::string text =
      "TLS verify-full, " + versions_of(settings.ssl_min_protocol_version, settings.ssl_max_protocol_version);
  if (upstream.sslnegotiation == SslNegotiation::direct) text += ", direct";
  text += settings.sslrootcert == tls::kSystemTrust ? "; trusts the system's CAs"
                                                    : "; trusts " + settings.sslrootcert;
  if (!settings.sslcert.empty()) text += "; shows " + settings.sslcert;
  for (const auto* revoked : {&settings.sslcrl, &settings.sslcrldir})
    if (!revoked->empty()) text += "; revocation lists in " + *revoked;
  return text;
}

std::string certificates_of(const tls::ServerSettings& settings) {
  std::string text;
  for (const auto& certificate : settings.certificates) {
    text += (text.empty() ? "shows " : ", ") + certificate.ssl_cert_file;
    std::string names;
    for (const auto& name : certificate.server_names)
      names += (names.empty() ? " to clients of " : ", ") + name;
    text += names;
  }
  return text;
}

std::string tls_of(const ListenerConfig& listener) {
  const auto policy = listener.tls_policy();
  if (policy == ListenerTls::off) return "plaintext";
  const auto& settings = listener.tls;
  std::string text = policy == ListenerTls::require ? "TLS required, " : "TLS or plaintext, ";
  text += versions_of(settings.ssl_min_protocol_version, settings.ssl_max_protocol_version) + ", ";
  text += certificates_of(settings);
  if (settings.ssl_ca_file.empty()) return text;
  text += "; asks for client certificates of " + settings.ssl_ca_file;
  for (const auto* revoked : {&settings.ssl_crl_file, &settings.ssl_crl_dir})
    if (!revoked->empty()) text += "; revocation lists in " + *revoked;
  return text;
}

// The built-in rules line by line, as they would stand in a file.
std::string rules_of(const ListenerPolicy& listener) {
  const std::string& built_in = listener.rules.built_in();
  const auto count = listener.rules.rule_count();
  const auto& hba = listener.config.hba;
  if (built_in.empty())
    return "  rules: " + std::to_string(count) + " in " + (hba.file.empty() ? "hba" : hba.file) + '\n';
  std::string text = "  rules, built in:\n";
  for (std::size_t begin = 0; begin < built_in.size();) {
    const auto end = built_in.find('\n', begin);
    text += "    " + built_in.substr(begin, end - begin) + '\n';
    begin = end + 1;
  }
  return text;
}

std::string logins_of(const ListenerPolicy& listener, const Upstream& upstream) {
  std::string text;
  for (const auto& forecast : forecast_logins(listener, upstream)) {
    text += "  logins by " + std::string(protocol::name_of(forecast.method)) +
            (forecast.client_has_tls ? ", clients with TLS: " : ", clients without TLS: ") + forecast.works +
            '\n';
    if (!forecast.fails.empty()) text += "    " + forecast.fails + '\n';
  }
  return text;
}

ConfigReport warnings_of(const Snapshot& snapshot) {
  ConfigReport report;
  report.add_warnings(snapshot.warnings);
  const unsigned workers = worker_count(snapshot.limits, granted_cpus());
  if (const auto few = descriptor_shortage(snapshot, workers))
    report.add_warning(value_error(
        fmt::format("the limit of open files is {}, but {} are required", few->limit, few->wanted),
        kDescriptorHint));
  return report;
}

}  // namespace

int run_check(const ParsedConfig& parsed) {
  const auto snapshot = prepare(parsed);
  if (!snapshot) {
    std::cerr << snapshot.error().report.text() << std::flush;
    return snapshot.error().exit_code;
  }
  // This is not a part of prepare(): `run` opens the FIFO only once, so that its reader sees no end of file.
  if (const auto problem = fifo_without_reader((*snapshot)->audit)) {
    ConfigReport report;
    report.add_error(parsed.locations.error_at(problem->setting, problem->message, problem->hint));
    std::cerr << report.text() << std::flush;
    return kExitConfig;
  }
  std::cerr << warnings_of(**snapshot).text() << std::flush;
  std::cout << summary_of(**snapshot) << std::flush;
  return kExitOk;
}

std::string summary_of(const Snapshot& snapshot) {
  std::string text;
  for (const auto& listener : snapshot.listeners) {
    const auto& config = listener.config;
    text += "listener " + config.address.text() + ": " + tls_of(config) + ", to upstream " + config.upstream +
            '\n';
    text += rules_of(listener);
    text += logins_of(listener, *listener.upstream);
  }
  for (const auto& [name, upstream] : snapshot.upstreams) {
    text += "upstream " + name + ": ";
    for (const auto& host : upstream->config.hosts)
      text += text_of(host) + (&host == &upstream->config.hosts.back() ? "" : ", ");
    text += "; " + tls_of(upstream->config) + '\n';
  }
  if (snapshot.admin.address) text += "admin " + snapshot.admin.address->text() + ": health and metrics\n";
  return text + "No errors found.\n";
}

}  // namespace pgveil::proxy
