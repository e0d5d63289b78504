// The one table of settings: what a key means in TOML, as a flag and as a PGVEIL_* variable, and what the
// documentation says of it. Nothing else knows the name of a setting.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/config/values.h"

namespace pgveil::proxy {

// An [upstream.NAME] as it is written: lists that have not been put together, and what is only checked.
struct UpstreamSection {
  std::vector<std::string> hosts;
  std::vector<std::string> hostaddrs;
  std::vector<std::uint16_t> ports{5432};
  std::string target_session_attrs = "any";
  UpstreamConfig config;
};

// Where a setting can be given besides TOML.
enum class OptionSource {
  flag_and_variable,
  variable_only,  // a secret: a command line can be read by every user of the machine
  nowhere,
};

// One key of a section. `Section` is the struct that its value goes into.
template <class Section>
struct Setting {
  std::string_view key;
  std::string_view effect;  // one line, for --help and docs/configuration.md
  std::string (*type)();
  std::optional<ConfigError> (*set)(const values::RawValue&, Section&);
  std::string (*show)(const Section&);  // empty: not set

  OptionSource outside = OptionSource::flag_and_variable;
  std::string_view own_flag = {};  // where it is not the key with dashes
  // How a flag or variable is understood, where that differs from TOML.
  std::optional<ConfigError> (*set_outside)(const values::RawValue&, Section&) = nullptr;
  bool required = false;
  bool secret = false;
  bool shown_in_part = false;  // a command, whose arguments may hold a secret
  bool only_for_tls = false;   // has no effect on connections without TLS
  bool needs_restart = false;  // a reload does not change it

  [[nodiscard]] std::string flag() const;      // "--connect-timeout"; empty: has none
  [[nodiscard]] std::string variable() const;  // "PGVEIL_CONNECT_TIMEOUT"; empty: has none
  [[nodiscard]] std::string default_text() const { return required ? "" : show(Section{}); }
};

[[nodiscard]] std::span<const Setting<ListenerConfig>> listener_settings();
// Of a [[listener.certificate]].
[[nodiscard]] std::span<const Setting<tls::ServerCertificate>> certificate_settings();
[[nodiscard]] std::span<const Setting<UpstreamSection>> upstream_settings();
[[nodiscard]] std::span<const Setting<LimitsConfig>> limits_settings();
[[nodiscard]] std::span<const Setting<LogConfig>> log_settings();
[[nodiscard]] std::span<const Setting<AuditConfig>> audit_settings();
[[nodiscard]] std::span<const Setting<ReloadConfig>> reload_settings();
[[nodiscard]] std::span<const Setting<AdminConfig>> admin_settings();

// "connect-timeout" for "connect_timeout".
[[nodiscard]] std::string flag_name(std::string_view key);
// "PGVEIL_CONNECT_TIMEOUT" for "--connect-timeout".
[[nodiscard]] std::string variable_name(std::string_view flag);

template <class Section>
std::string Setting<Section>::flag() const {
  return outside == OptionSource::flag_and_variable ? "--" + flag_name(own_flag.empty() ? key : own_flag)
                                                    : "";
}

template <class Section>
std::string Setting<Section>::variable() const {
  return outside == OptionSource::nowhere ? "" : variable_name(flag_name(own_flag.empty() ? key : own_flag));
}

}  // namespace pgveil::proxy
