// A configuration while it is being read: takes values from wherever they stand, then checks what concerns
// more than one key. The same for a TOML file and for a command line.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

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
struct SectionDraft {
  Section values{};
  std::string key;       // "upstream.primary"
  Origins::Place place;  // of its header; without a line for the command line

  [[nodiscard]] std::string key_of(std::string_view setting) const {
    return key + '.' + std::string(setting);
  }
};

// What could be understood, and all that is wrong. `parsed` is whole only if `report` has no errors.
struct Reading {
  ParsedConfig parsed;
  ConfigReport report;
};

class ConfigDraft {
 public:
  SectionDraft<LimitsConfig> limits{{}, "limits", {}};
  SectionDraft<LogConfig> log{{}, "log", {}};

  // The section stays where it is as long as the draft.
  SectionDraft<ListenerConfig>& add_listener(Origins::Place place);
  // A [[listener.certificate]] of `listener`.
  SectionDraft<tls::ServerCertificate>& add_certificate(const SectionDraft<ListenerConfig>& listener,
                                                        Origins::Place place);
  SectionDraft<UpstreamSection>& add_upstream(const std::string& name, Origins::Place place);

  // Takes a value, or reports the error. `raw` is wiped if the setting is a secret.
  template <class Section>
  void set(SectionDraft<Section>& section, const Setting<Section>& setting, values::RawValue raw,
           const Origins::Place& place);

  // Where the text of a setting begins, which may be below its key: for errors inside of it.
  template <class Section>
  void note_text(const SectionDraft<Section>& section, std::string_view setting,
                 const Origins::Place& place) {
    origins_.note(section.key_of(setting) + ".text", place);
  }

  void add(ConfigError error) { report_.add_error(std::move(error)); }
  // An error at the setting.
  template <class Section>
  void add_at(const SectionDraft<Section>& section, std::string_view setting, std::string message,
              std::string hint);
  [[nodiscard]] const ConfigReport& report() const { return report_; }
  [[nodiscard]] std::deque<SectionDraft<UpstreamSection>>& upstreams() { return upstreams_; }
  // Whether the setting has been given, be it right or wrong.
  template <class Section>
  [[nodiscard]] bool has(const SectionDraft<Section>& section, std::string_view setting) const {
    return origins_.knows(section.key_of(setting));
  }

  // Checks the whole and hands it over.
  [[nodiscard]] Reading finish() &&;

 private:
  template <class Section>
  void check_required(const SectionDraft<Section>& section);
  [[nodiscard]] std::deque<SectionDraft<tls::ServerCertificate>>& certificates_of(
      const SectionDraft<ListenerConfig>& listener);
  void put_certificates_together(SectionDraft<ListenerConfig>& listener);
  void check_listener(const SectionDraft<ListenerConfig>& listener);
  void check_listener_address(const SectionDraft<ListenerConfig>& listener);
  void check_unix_listener(const SectionDraft<ListenerConfig>& listener);
  void check_listener_tls(const SectionDraft<ListenerConfig>& listener);
  // Ciphers of versions of TLS that are not accepted.
  template <class Section>
  void check_ciphers(const SectionDraft<Section>& section, const tls::HandshakeSettings& settings);
  void check_listener_without_tls(const SectionDraft<ListenerConfig>& listener, const std::string& why);
  void check_listener_identity(const SectionDraft<ListenerConfig>& listener);
  void check_listener_parameters(const SectionDraft<ListenerConfig>& listener);
  void check_listeners_differ();
  void refuse_address(const SectionDraft<ListenerConfig>& listener, const SocketAddress& address,
                      const SocketAddress& other, int line);
  void check_upstream_of(const SectionDraft<ListenerConfig>& listener);
  void check_early_upstream(const SectionDraft<ListenerConfig>& listener, const UpstreamConfig& upstream);
  // Of two settings that say the same thing differently only one may stand.
  template <class Section>
  void refuse_both(const SectionDraft<Section>& section, std::string_view setting, std::string_view other,
                   const std::string& hint);
  template <class Section>
  void refuse_without_effect(const SectionDraft<Section>& section, std::string_view setting,
                             const std::string& why);
  void check_upstream(SectionDraft<UpstreamSection>& upstream);
  bool put_hosts_together(SectionDraft<UpstreamSection>& upstream);
  void check_hosts(const SectionDraft<UpstreamSection>& upstream);
  void check_plaintext(const SectionDraft<UpstreamSection>& upstream);
  void check_keepalives(const SectionDraft<UpstreamSection>& upstream);
  void check_tls(const SectionDraft<UpstreamSection>& upstream);
  void check_credentials(const SectionDraft<UpstreamSection>& upstream);
  void check_without_tls(const SectionDraft<UpstreamSection>& upstream);

  std::deque<SectionDraft<ListenerConfig>> listeners_;
  std::deque<std::deque<SectionDraft<tls::ServerCertificate>>> certificates_;  // of each listener
  std::deque<SectionDraft<UpstreamSection>> upstreams_;
  Origins origins_;
  ConfigReport report_;
};

// Reads a TOML file into a draft, which reports what is wrong with it. Wipes secrets in `toml`.
void read_toml(std::string& toml, const std::string& file, ConfigDraft& draft);

}  // namespace pgveil::proxy
