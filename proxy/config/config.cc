#include "proxy/config/config.h"

#include <algorithm>
#include <utility>

#include "tls/digest.h"

namespace pgveil::proxy {

std::vector<std::string> harmless_startup_parameters() {
  return {"application_name",
          "client_encoding",
          "DateStyle",
          "IntervalStyle",
          "TimeZone",
          "extra_float_digits",
          "bytea_output",
          "standard_conforming_strings",
          "statement_timeout",
          "lock_timeout",
          "idle_in_transaction_session_timeout",
          "idle_session_timeout",
          "transaction_timeout",
          "default_transaction_isolation",
          "default_transaction_read_only",
          "default_transaction_deferrable",
          "replication"};
}

ListenerTls ListenerConfig::tls_policy() const {
  return tls_setting.value_or(tls.certificates.empty() ? ListenerTls::off : ListenerTls::require);
}

bool UpstreamHost::is_unix() const {
  return host.starts_with('/') || host.starts_with('@');
}

std::string UpstreamHost::unix_path() const {
  return host + "/.s.PGSQL." + std::to_string(port);
}

std::size_t UpstreamConfig::index_after(const UpstreamHost& host) const {
  const auto place = std::find(hosts.begin(), hosts.end(), host);
  if (place == hosts.end()) return 0;
  return static_cast<std::size_t>(place - hosts.begin() + 1) % hosts.size();
}

bool UpstreamConfig::uses_tls() const {
  if (sslmode == SslMode::disable) return false;
  for (const auto& host : hosts)
    if (!host.is_unix()) return true;
  return false;
}

void wipe_secrets(Config& config) {
  for (auto& [name, upstream] : config.upstreams) tls::wipe(upstream.tls.sslpassword);
}

SourceLocations::Place SourceLocations::find(std::string_view key) const {
  for (;;) {
    if (const auto place = places_.find(key); place != places_.end()) return place->second;
    const auto dot = key.rfind('.');
    if (dot == std::string_view::npos) return {};
    key = key.substr(0, dot);
  }
}

ConfigError SourceLocations::error_at(const std::string& key, std::string message, std::string hint) const {
  auto place = find(key);
  return {std::move(place.file), place.line, key, std::move(message), std::move(hint)};
}

}  // namespace pgveil::proxy
