// A configuration while it is being read: takes values from wherever they stand, then checks what concerns
// more than one key. The same for a TOML file and for a command line.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/config/config_report.h"
#include "proxy/config/settings.h"
#include "proxy/config/values.h"

namespace pgveil::proxy {

// The place of a section that no file describes: options do, with or without variables, or variables alone.
inline constexpr const char* kCommandLine = "command line";
inline constexpr const char* kEnvironment = "environment";

// One section, such as an [upstream.NAME].
template <class Section>
struct SectionBuilder {
  Section values{};
  std::string key;               // "upstream.primary"
  SourceLocations::Place place;  // of its header; without a line for the command line

  [[nodiscard]] std::string key_of(std::string_view setting) const {
    return key + '.' + std::string(setting);
  }
};

// What could be understood, and all that is wrong. `parsed` is whole only if `report` has no errors.
struct ParseResult {
  ParsedConfig parsed;
  ConfigReport report;
};

class ConfigBuilder {
 public:
  SectionBuilder<LimitsConfig> limits{{}, "limits", {}};
  SectionBuilder<LogConfig> log{{}, "log", {}};
  SectionBuilder<AuditConfig> audit{{}, "audit", {}};
  SectionBuilder<ReloadConfig> reload{{}, "reload", {}};
  SectionBuilder<AdminConfig> admin{{}, "admin", {}};

  // Stores where the file has a section that there is once: its errors are then about the file.
  template <class Section>
  void note_place(SectionBuilder<Section>& section, const SourceLocations::Place& place) {
    locations_.note(section.key, place);
    section.place = place;
  }

  // The section is not moved while the builder exists.
  SectionBuilder<ListenerConfig>& add_listener(SourceLocations::Place place);
  // A [[listener.certificate]] of `listener`.
  SectionBuilder<tls::ServerCertificate>& add_certificate(const SectionBuilder<ListenerConfig>& listener,
                                                          SourceLocations::Place place);
  SectionBuilder<UpstreamSection>& add_upstream(const std::string& name, SourceLocations::Place place);

  // Takes a value, or reports the error. `raw` is wiped if the setting is a secret.
  template <class Section>
  void set(SectionBuilder<Section>& section, const Setting<Section>& setting, values::RawValue raw,
           const SourceLocations::Place& place);

  // Where the text of a setting begins, which may be below its key: for errors inside of it.
  template <class Section>
  void note_text(const SectionBuilder<Section>& section, std::string_view setting,
                 const SourceLocations::Place& place) {
    locations_.note(section.key_of(setting) + ".text", place);
  }

  // `path` becomes ParsedConfig::file.
  void set_file(const std::string& path) { file_ = path; }

  void add(ConfigError error) { report_.add_error(std::move(error)); }
  // An error at the setting.
  template <class Section>
  void add_at(const SectionBuilder<Section>& section, std::string_view setting, std::string message,
              std::string hint);
  [[nodiscard]] const ConfigReport& report() const { return report_; }
  [[nodiscard]] std::deque<SectionBuilder<UpstreamSection>>& upstreams() { return upstreams_; }
  // Whether the setting has been given, be it right or wrong.
  template <class Section>
  [[nodiscard]] bool has(const SectionBuilder<Section>& section, std::string_view setting) const {
    return locations_.knows(section.key_of(setting));
  }

  // Checks the whole and hands it over.
  [[nodiscard]] ParseResult finish() &&;

 private:
  template <class Section>
  void check_required(const SectionBuilder<Section>& section);
  [[nodiscard]] std::deque<SectionBuilder<tls::ServerCertificate>>& certificates_of(
      const SectionBuilder<ListenerConfig>& listener);
  void put_certificates_together(SectionBuilder<ListenerConfig>& listener);
  void check_listener(const SectionBuilder<ListenerConfig>& listener);
  void check_listener_address(const SectionBuilder<ListenerConfig>& listener);
  void check_proxy_protocol(const SectionBuilder<ListenerConfig>& listener);
  void check_unix_listener(const SectionBuilder<ListenerConfig>& listener);
  void check_listener_tls(const SectionBuilder<ListenerConfig>& listener);
  // Ciphers of versions of TLS that are not accepted.
  template <class Section>
  void check_ciphers(const SectionBuilder<Section>& section, const tls::HandshakeSettings& settings);
  void check_listener_without_tls(const SectionBuilder<ListenerConfig>& listener, const std::string& why);
  void check_listener_identity(const SectionBuilder<ListenerConfig>& listener);
  void check_admin_database(const SectionBuilder<ListenerConfig>& listener);
  void check_listener_parameters(const SectionBuilder<ListenerConfig>& listener);
  void check_listeners_differ();
  void refuse_address(const SectionBuilder<ListenerConfig>& listener, const SocketAddress& address,
                      const SocketAddress& other, int line);
  void check_upstream_of(const SectionBuilder<ListenerConfig>& listener);
  void check_early_upstream(const SectionBuilder<ListenerConfig>& listener, const UpstreamConfig& upstream);
  // Of two settings that say the same thing differently only one may stand.
  template <class Section>
  void refuse_both(const SectionBuilder<Section>& section, std::string_view setting, std::string_view other,
                   const std::string& hint);
  template <class Section>
  void refuse_without_effect(const SectionBuilder<Section>& section, std::string_view setting,
                             const std::string& why);
  void check_audit();
  void check_admin();
  void check_upstream(SectionBuilder<UpstreamSection>& upstream);
  bool put_hosts_together(SectionBuilder<UpstreamSection>& upstream);
  void check_hosts(const SectionBuilder<UpstreamSection>& upstream);
  void check_plaintext(const SectionBuilder<UpstreamSection>& upstream);
  void check_keepalives(const SectionBuilder<UpstreamSection>& upstream);
  void check_tls(const SectionBuilder<UpstreamSection>& upstream);
  void check_credentials(const SectionBuilder<UpstreamSection>& upstream);
  void check_without_tls(const SectionBuilder<UpstreamSection>& upstream);

  std::deque<SectionBuilder<ListenerConfig>> listeners_;
  std::deque<std::deque<SectionBuilder<tls::ServerCertificate>>> certificates_;  // of each listener
  std::deque<SectionBuilder<UpstreamSection>> upstreams_;
  std::string file_;
  SourceLocations locations_;
  ConfigReport report_;
};

}  // namespace pgveil::proxy
