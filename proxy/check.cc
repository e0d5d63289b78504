#include "proxy/check.h"

#include <iostream>

#include "proxy/cli.h"
#include "proxy/values.h"

namespace pgveil::proxy {
namespace {

std::string text_of(const UpstreamHost& host) {
  if (host.is_unix()) return "unix:" + host.unix_path();
  const std::string& name = host.host.empty() ? host.hostaddr : host.host;
  std::string text = SocketAddress{.host = name, .port = host.port, .unix_path = ""}.text();
  if (!host.host.empty() && !host.hostaddr.empty()) text += " (" + host.hostaddr + ')';
  return text;
}

std::string versions_of(const tls::ClientSettings& settings) {
  const std::string oldest(tls::name_of(settings.ssl_min_protocol_version));
  if (!settings.ssl_max_protocol_version) return oldest + " or newer";
  return oldest + " to " + std::string(tls::name_of(*settings.ssl_max_protocol_version));
}

std::string tls_of(const UpstreamConfig& upstream) {
  if (!upstream.uses_tls()) return "no TLS";
  const auto& settings = upstream.tls;
  std::string text = "TLS verify-full, " + versions_of(settings);
  if (upstream.sslnegotiation == SslNegotiation::direct) text += ", direct";
  text += settings.sslrootcert == tls::kSystemTrust ? "; trusts the system's CAs"
                                                    : "; trusts " + settings.sslrootcert;
  if (!settings.sslcert.empty()) text += "; shows " + settings.sslcert;
  for (const auto* revoked : {&settings.sslcrl, &settings.sslcrldir})
    if (!revoked->empty()) text += "; revocation lists in " + *revoked;
  return text;
}

}  // namespace

int run_check(const ParsedConfig& parsed) {
  const auto snapshot = build_snapshot(parsed);
  if (!snapshot) {
    std::cerr << text_of(snapshot.error()) << std::flush;
    return kExitConfig;
  }
  std::cout << summary_of(**snapshot) << std::flush;
  return kExitOk;
}

std::string summary_of(const Snapshot& snapshot) {
  std::string text;
  for (const auto& listener : snapshot.config.listeners)
    text += "listener " + listener.address.text() + ": plaintext, to upstream " + listener.upstream + '\n';
  for (const auto& [name, upstream] : snapshot.upstreams) {
    text += "upstream " + name + ": ";
    for (const auto& host : upstream.config.hosts)
      text += text_of(host) + (&host == &upstream.config.hosts.back() ? "" : ", ");
    text += "; " + tls_of(upstream.config) + '\n';
  }
  return text + "No mistakes found.\n";
}

}  // namespace pgveil::proxy
