#include "proxy/admin/result_table.h"

#include <span>
#include <string_view>
#include <utility>

#include "proxy/config/password_filter.h"
#include "proxy/config/settings.h"
#include "proxy/diagnostics/log_text.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;
using protocol::ColumnType;

// A column, and where its value is in the object of a row.
struct Source {
  std::string_view name;
  ColumnType type;
  std::string_view pointer;  // RFC 6901
};

std::optional<std::string> text_of(const Json& value) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return printable(value.get<std::string>());
  return value.dump();
}

// Returns the value at `pointer`. A member of the object must be there; a part of a member may be missing, and is null then.
const Json* value_at(const Json& object, const std::string& pointer) {
  const auto end = pointer.find('/', 1);
  const Json& member = object.at(pointer.substr(1, end - 1));
  if (end == std::string::npos) return &member;
  const Json::json_pointer part(pointer.substr(end));
  return member.contains(part) ? &member.at(part) : nullptr;
}

// What is null becomes NULL.
ResultTable table_of(const Json& objects, std::span<const Source> sources) {
  ResultTable table;
  table.columns.reserve(sources.size());
  for (const Source& source : sources) table.columns.push_back({std::string(source.name), source.type});
  for (const Json& object : objects) {
    protocol::Row row;
    row.reserve(sources.size());
    for (const Source& source : sources) {
      const Json* value = value_at(object, std::string(source.pointer));
      row.push_back(value == nullptr ? std::nullopt : text_of(*value));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

// Leaves out what may hold a secret: passphrases, a command for the shell, and the arguments of a program.
template <class Section>
std::string public_value(const Setting<Section>& setting, const Section& section) {
  constexpr std::string_view kNotShown = "(not shown)";
  if (setting.secret) return std::string(kNotShown);
  std::string value = setting.show(section);
  if (!setting.shown_in_part || value.empty()) return value;
  if (!value.starts_with('[')) return std::string(kNotShown);
  const auto end = value.find(',');
  if (end != std::string::npos) value.replace(end, std::string::npos, ", ...]");
  return value;
}

struct ConfigRows {
  ResultTable& table;

  template <class Section>
  void add(const std::string& name, std::span<const Setting<Section>> settings, const Section& section) {
    for (const auto& setting : settings) {
      const std::string value = public_value(setting, section);
      table.rows.push_back({name, std::string(setting.key), shown(value), shown(setting.default_text()),
                            setting.needs_restart ? "restart" : "reload"});
    }
  }

  // A setting that is not set is NULL.
  static std::optional<std::string> shown(const std::string& value) {
    if (value.empty()) return std::nullopt;
    return values::without_passwords(value);
  }
};

// Puts the hosts of an upstream together as they are written.
UpstreamSection section_of(const UpstreamConfig& config) {
  UpstreamSection section;
  section.config = config;
  section.ports.clear();
  bool has_hostaddrs = false;
  for (const UpstreamHost& host : config.hosts) {
    section.hosts.push_back(host.host);
    section.hostaddrs.push_back(host.hostaddr);
    section.ports.push_back(host.port);
    has_hostaddrs = has_hostaddrs || !host.hostaddr.empty();
  }
  if (!has_hostaddrs) section.hostaddrs.clear();
  return section;
}

}  // namespace

ResultTable sessions_table(const Json& page) {
  static constexpr Source kSources[] = {
      {"session", ColumnType::text, "/session"},
      {"worker", ColumnType::int8, "/worker"},
      {"age_seconds", ColumnType::float8, "/age_seconds"},
      {"phase", ColumnType::text, "/phase"},
      {"state", ColumnType::text, "/state"},
      {"listener", ColumnType::text, "/listener"},
      {"client", ColumnType::text, "/client"},
      {"client_tls", ColumnType::text, "/client_tls"},
      {"identity", ColumnType::text, "/identity"},
      {"user", ColumnType::text, "/user"},
      {"database", ColumnType::text, "/database"},
      {"rule", ColumnType::text, "/rule"},
      {"upstream", ColumnType::text, "/upstream"},
      {"server", ColumnType::text, "/server"},
      {"server_tls", ColumnType::text, "/server_tls"},
      {"bytes_to_client", ColumnType::int8, "/bytes/to_client"},
      {"bytes_to_server", ColumnType::int8, "/bytes/to_server"},
  };
  return table_of(page.at("sessions"), kSources);
}

ResultTable upstreams_table(const Json& page) {
  static constexpr Source kSources[] = {
      {"upstream", ColumnType::text, "/name"},
      {"sslmode", ColumnType::text, "/sslmode"},
      {"verdict", ColumnType::text, "/verdict"},
      {"problem", ColumnType::text, "/problem"},
      {"server", ColumnType::text, "/server"},
      {"last_connected", ColumnType::text, "/last_connected"},
      {"last_failed", ColumnType::text, "/last_failed"},
      {"tls", ColumnType::text, "/tls"},
      {"certificate", ColumnType::text, "/certificate/subject"},
      {"not_after", ColumnType::text, "/certificate/not_after"},
      {"days_left", ColumnType::int8, "/certificate/days_left"},
  };
  return table_of(page.at("upstreams"), kSources);
}

ResultTable certificates_table(const Json& page) {
  static constexpr Source kSources[] = {
      {"kind", ColumnType::text, "/kind"},           {"subject", ColumnType::text, "/subject"},
      {"file", ColumnType::text, "/file"},           {"not_after", ColumnType::text, "/not_after"},
      {"days_left", ColumnType::int8, "/days_left"},
  };
  return table_of(page.at("certificates"), kSources);
}

ResultTable stats_table(const Json& page) {
  static constexpr Source kSources[] = {
      {"listener", ColumnType::text, "/address"},
      {"upstream", ColumnType::text, "/upstream"},
      {"accepted", ColumnType::int8, "/accepted"},
      {"logins_accepted", ColumnType::int8, "/logins/accepted"},
      {"logins_refused", ColumnType::int8, "/logins/refused"},
      {"sessions", ColumnType::int8, "/limits/sessions/used"},
      {"max_sessions", ColumnType::int8, "/limits/sessions/max"},
      {"idle", ColumnType::int8, "/sessions/established/idle"},
      {"in_transaction", ColumnType::int8, "/sessions/established/in_transaction"},
      {"active", ColumnType::int8, "/sessions/established/active"},
      {"bytes_to_client", ColumnType::int8, "/bytes/to_client"},
      {"bytes_to_server", ColumnType::int8, "/bytes/to_server"},
      {"start_p50", ColumnType::float8, "/latencies/start/p50"},
      {"start_p95", ColumnType::float8, "/latencies/start/p95"},
      {"start_p99", ColumnType::float8, "/latencies/start/p99"},
  };
  return table_of(page.at("listeners"), kSources);
}

ResultTable version_table(const Json& page) {
  static constexpr Source kSources[] = {
      {"pgveil", ColumnType::text, "/version"},
      {"openssl", ColumnType::text, "/openssl"},
      {"libuv", ColumnType::text, "/libuv"},
      {"relay", ColumnType::text, "/relay"},
      {"tls_records", ColumnType::text, "/tls_records"},
  };
  return table_of(Json::array({page}), kSources);
}

ResultTable config_table(const Snapshot& snapshot) {
  ResultTable table;
  for (const char* name : {"section", "key", "value", "default", "changed_by"})
    table.columns.push_back({name, ColumnType::text});
  ConfigRows rows{table};
  for (std::size_t i = 0; i < snapshot.listeners.size(); ++i) {
    const ListenerConfig& config = snapshot.listeners[i].config;
    const std::string name = "listener[" + std::to_string(i) + "]";
    rows.add(name, listener_settings(), config);
    const bool has_default = !config.certificate.ssl_cert_file.empty();
    for (std::size_t j = has_default ? 1 : 0; j < config.tls.certificates.size(); ++j)
      rows.add(name + ".certificate[" + std::to_string(j - (has_default ? 1 : 0)) + "]",
               certificate_settings(), config.tls.certificates[j]);
  }
  for (const auto& [name, upstream] : snapshot.upstreams)
    rows.add("upstream." + name, upstream_settings(), section_of(upstream->config));
  rows.add("limits", limits_settings(), snapshot.limits);
  rows.add("log", log_settings(), snapshot.log);
  rows.add("audit", audit_settings(), snapshot.audit);
  rows.add("reload", reload_settings(), snapshot.reload);
  rows.add("admin", admin_settings(), snapshot.admin);
  return table;
}

}  // namespace pgveil::proxy
