#include "proxy/config/config_builder.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/startup.h"
#include "proxy/config/command_template.h"
#include "proxy/config/password_filter.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;

std::span<const Setting<ListenerConfig>> settings_of(const SectionBuilder<ListenerConfig>&) {
  return listener_settings();
}
std::span<const Setting<tls::ServerCertificate>> settings_of(const SectionBuilder<tls::ServerCertificate>&) {
  return certificate_settings();
}
std::span<const Setting<UpstreamSection>> settings_of(const SectionBuilder<UpstreamSection>&) {
  return upstream_settings();
}

std::span<const Setting<AuditConfig>> settings_of(const SectionBuilder<AuditConfig>&) {
  return audit_settings();
}

std::span<const Setting<AdminConfig>> settings_of(const SectionBuilder<AdminConfig>&) {
  return admin_settings();
}

template <class Section>
bool is_from_file(const SectionBuilder<Section>& section) {
  return section.place.line > 0;
}

template <class Section>
bool is_from_environment(const SectionBuilder<Section>& section) {
  return section.place.file == kEnvironment;
}

// The option that sets it, or the variable if there is none or if variables describe the whole section.
template <class Section>
std::string flag_of(const SectionBuilder<Section>& section, std::string_view key) {
  for (const auto& setting : settings_of(section))
    if (setting.key == key)
      return setting.flag().empty() || is_from_environment(section) ? setting.variable() : setting.flag();
  return "";
}

// How a setting is written where this section comes from: `sslmode = "disable"`, `--sslmode disable` or
// `PGVEIL_SSLMODE=disable`.
template <class Section>
std::string spelled(const SectionBuilder<Section>& section, std::string_view key, std::string_view value) {
  if (is_from_file(section)) return std::string(key) + " = " + std::string(value);
  std::string bare(value);
  std::erase(bare, '"');
  return flag_of(section, key) + (is_from_environment(section) ? '=' : ' ') + bare;
}
template <class Section>
std::string spelled(const SectionBuilder<Section>& section, std::string_view key) {
  return is_from_file(section) ? std::string(key) : flag_of(section, key);
}

constexpr std::string_view kAllIpv4 = "0.0.0.0", kAllIpv6 = "::";

std::string without_backticks(std::string_view text) {
  std::string plain(text);
  std::erase(plain, '`');
  return plain;
}

bool is_for_all(const SocketAddress& address) {
  return address.host == kAllIpv4 || address.host == kAllIpv6;
}

// Whether the kernel lets only one of the two be listened on. `::` is for IPv6 only: a listener sets IPV6_V6ONLY.
bool overlap(const SocketAddress& a, const SocketAddress& b) {
  if (a.text() == b.text()) return true;
  if (a.is_unix() || b.is_unix() || a.port != b.port) return false;
  const auto is_ipv6 = [](const SocketAddress& address) {
    return address.host.find(':') != std::string::npos;
  };
  return is_ipv6(a) == is_ipv6(b) && (is_for_all(a) || is_for_all(b));
}

bool is_loopback(const UpstreamHost& host) {
  if (host.hostaddr.empty() && host.host == "localhost") return true;
  return SocketAddress{.host = host.hostaddr.empty() ? host.host : host.hostaddr, .port = 0, .unix_path = ""}
      .is_loopback();
}

std::string shown(const UpstreamHost& host) {
  return in_quotes(host.host.empty() ? host.hostaddr : host.host);
}

}  // namespace

SectionBuilder<ListenerConfig>& ConfigBuilder::add_listener(SourceLocations::Place place) {
  std::string key = "listener[" + std::to_string(listeners_.size()) + ']';
  locations_.note(key, place);
  certificates_.emplace_back();
  return listeners_.emplace_back(SectionBuilder<ListenerConfig>{{}, std::move(key), std::move(place)});
}

std::deque<SectionBuilder<tls::ServerCertificate>>& ConfigBuilder::certificates_of(
    const SectionBuilder<ListenerConfig>& listener) {
  const auto owner = std::find_if(listeners_.begin(), listeners_.end(),
                                  [&](const auto& candidate) { return &candidate == &listener; });
  return certificates_.at(static_cast<std::size_t>(owner - listeners_.begin()));
}

SectionBuilder<tls::ServerCertificate>& ConfigBuilder::add_certificate(
    const SectionBuilder<ListenerConfig>& listener, SourceLocations::Place place) {
  auto& certificates = certificates_of(listener);
  std::string key = listener.key + ".certificate[" + std::to_string(certificates.size()) + ']';
  locations_.note(key, place);
  return certificates.emplace_back(
      SectionBuilder<tls::ServerCertificate>{{}, std::move(key), std::move(place)});
}

SectionBuilder<UpstreamSection>& ConfigBuilder::add_upstream(const std::string& name,
                                                             SourceLocations::Place place) {
  std::string key = "upstream." + name;
  locations_.note(key, place);
  auto& section =
      upstreams_.emplace_back(SectionBuilder<UpstreamSection>{{}, std::move(key), std::move(place)});
  section.values.config.name = name;
  return section;
}

template <class Section>
void ConfigBuilder::set(SectionBuilder<Section>& section, const Setting<Section>& setting,
                        values::RawValue raw, const SourceLocations::Place& place) {
  locations_.note(section.key_of(setting.key), place);
  const bool is_outside = raw.kind == values::RawValue::Kind::untyped && setting.set_outside != nullptr;
  auto error = (is_outside ? setting.set_outside : setting.set)(raw, section.values);
  // The message may quote any part of the value.
  if (error && values::may_hold_password(raw.text))
    error = value_error("is not valid, and is not shown, since it may contain a password",
                        "Do not write a connection string. The client sends user and password.");
  if (error)
    add({place.file, place.line, section.key_of(setting.key), std::move(error->message),
         std::move(error->hint)});
  if (setting.secret) tls::wipe(raw.text);
}

template void ConfigBuilder::set(SectionBuilder<ListenerConfig>&, const Setting<ListenerConfig>&,
                                 values::RawValue, const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<tls::ServerCertificate>&,
                                 const Setting<tls::ServerCertificate>&, values::RawValue,
                                 const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<UpstreamSection>&, const Setting<UpstreamSection>&,
                                 values::RawValue, const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<LimitsConfig>&, const Setting<LimitsConfig>&,
                                 values::RawValue, const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<LogConfig>&, const Setting<LogConfig>&, values::RawValue,
                                 const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<AuditConfig>&, const Setting<AuditConfig>&, values::RawValue,
                                 const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<ReloadConfig>&, const Setting<ReloadConfig>&,
                                 values::RawValue, const SourceLocations::Place&);
template void ConfigBuilder::set(SectionBuilder<AdminConfig>&, const Setting<AdminConfig>&, values::RawValue,
                                 const SourceLocations::Place&);

ParseResult ConfigBuilder::finish() && {
  for (auto& upstream : upstreams_) check_upstream(upstream);
  for (auto& listener : listeners_) {
    put_certificates_together(listener);
    check_listener(listener);
  }
  check_listeners_differ();
  check_audit();
  check_admin();

  ParseResult result;
  Config& config = result.parsed.config;
  for (auto& listener : listeners_) config.listeners.push_back(std::move(listener.values));
  for (auto& upstream : upstreams_) {
    auto& values = upstream.values.config;
    config.upstreams.emplace(values.name, std::move(values));
  }
  config.limits = limits.values;
  for (auto& listener : config.listeners) listener.tls.records = config.limits.tls_records;
  for (auto& [name, upstream] : config.upstreams) upstream.tls.records = config.limits.tls_records;
  config.log = log.values;
  config.audit = audit.values;
  config.reload = reload.values;
  config.admin = admin.values;
  const bool keeps_chains = config.reload.sessions == ReloadSessions::revalidate;
  for (auto& listener : config.listeners) listener.tls.keep_peer_chain = keeps_chains;
  for (auto& [name, upstream] : config.upstreams) upstream.tls.keep_peer_chain = keeps_chains;
  result.parsed.file = std::move(file_);
  result.parsed.locations = std::move(locations_);
  result.report = std::move(report_);
  return result;
}

// At the setting if it has been given, else at its section or, on a command line, at the flag that is wanted.
template <class Section>
void ConfigBuilder::add_at(const SectionBuilder<Section>& section, std::string_view setting,
                           std::string message, std::string hint) {
  const std::string key = section.key_of(setting);
  auto place = locations_.find(key);
  if (!locations_.knows(key) && !is_from_file(section)) place = {flag_of(section, setting), 0};
  add({place.file, place.line, key, std::move(message), std::move(hint)});
}

template void ConfigBuilder::add_at(const SectionBuilder<UpstreamSection>&, std::string_view, std::string,
                                    std::string);

template <class Section>
void ConfigBuilder::check_required(const SectionBuilder<Section>& section) {
  for (const auto& setting : settings_of(section))
    if (setting.required && !has(section, setting.key))
      add_at(section, setting.key, "is missing",
             fmt::format("Set {}. {}", spelled(section, setting.key), without_backticks(setting.effect)));
}

template <class Section>
void ConfigBuilder::refuse_without_effect(const SectionBuilder<Section>& section, std::string_view setting,
                                          const std::string& why) {
  if (has(section, setting)) add_at(section, setting, "has no effect: " + why, "Remove it.");
}

template <class Section>
void ConfigBuilder::refuse_both(const SectionBuilder<Section>& section, std::string_view setting,
                                std::string_view other, const std::string& hint) {
  if (has(section, setting) && has(section, other))
    add_at(section, setting, "cannot be combined with " + spelled(section, other), hint);
}

// The default certificate first, then those for names, in the order of the file: the context's order.
void ConfigBuilder::put_certificates_together(SectionBuilder<ListenerConfig>& listener) {
  auto& certificates = listener.values.tls.certificates;
  if (has(listener, "ssl_cert_file") || has(listener, "ssl_key_file"))
    certificates.push_back(listener.values.certificate);
  for (const auto& certificate : certificates_of(listener)) {
    check_required(certificate);
    certificates.push_back(certificate.values);
  }
}

void ConfigBuilder::check_listener(const SectionBuilder<ListenerConfig>& listener) {
  check_required(listener);
  check_upstream_of(listener);
  check_listener_address(listener);
  check_listener_tls(listener);
  check_listener_identity(listener);
  check_listener_parameters(listener);
}

void ConfigBuilder::check_listener_address(const SectionBuilder<ListenerConfig>& listener) {
  const auto& address = listener.values.address;
  const auto policy = listener.values.tls_policy();
  check_proxy_protocol(listener);
  if (policy == ListenerTls::require)
    refuse_without_effect(listener, "allow_plaintext_from_network", "this listener requires TLS");
  else if (address.is_unix() || address.is_loopback())
    refuse_without_effect(listener, "allow_plaintext_from_network",
                          "clients of the network cannot reach " + address.text());
  if (address.is_unix()) return check_unix_listener(listener);
  if (address.host.empty()) return;
  if (policy == ListenerTls::off && !address.is_loopback() && !listener.values.allow_plaintext_from_network)
    add_at(listener, "address",
           "plaintext on " + address.text() + " can be read and altered by everyone on the network path",
           "Use 127.0.0.1, [::1] or a Unix socket, or a certificate with " +
               spelled(listener, "ssl_cert_file") + ", or allow it with " +
               spelled(listener, "allow_plaintext_from_network", "true") + ".");
  for (const char* key : {"unix_socket_permissions", "unix_socket_group"})
    if (has(listener, key))
      add_at(listener, key, "has no effect: " + address.text() + " is not a Unix socket",
             "Remove it, or use a Unix socket as the address.");
}

void ConfigBuilder::check_audit() {
  const AuditTarget target = audit.values.target;
  const bool has_socket = target == AuditTarget::syslog || target == AuditTarget::journald;
  if (target == AuditTarget::file && !has(audit, "file"))
    add_at(audit, "file", "is missing",
           fmt::format("Set {}.", spelled(audit, "file", "\"/var/log/pgveil/audit.json\"")));
  if (target != AuditTarget::file && has(audit, "file"))
    add_at(audit, "file", "has no effect: target is not \"file\"",
           fmt::format("Set {}, or remove it.", spelled(audit, "target", "\"file\"")));
  for (const char* key : {"socket", "syslog_facility"})
    if (!has_socket) refuse_without_effect(audit, key, "target is neither \"syslog\" nor \"journald\"");
  if (target == AuditTarget::none) refuse_without_effect(audit, "fail", "there is no target");
}

void ConfigBuilder::check_admin() {
  const auto& address = admin.values.address;
  if (!address) {
    if (has(admin, "address")) return;  // it is not valid
    for (const auto& setting : admin_settings())
      refuse_without_effect(admin, setting.key, "there is no address");
    return;
  }
  if (!address->is_unix() && !address->is_loopback() && !admin.values.allow_from_network)
    add_at(admin, "address",
           address->text() + " can be reached from the network, without encryption and login",
           "Use 127.0.0.1, [::1] or a Unix socket, or allow it with " +
               spelled(admin, "allow_from_network", "true") + ".");
  if (address->is_unix() || address->is_loopback())
    refuse_without_effect(admin, "allow_from_network",
                          address->text() + " cannot be reached from the network");
  if (!admin.values.labels.any()) refuse_without_effect(admin, "label_limit", "labels is not set");
  if (!address->is_unix())
    for (const char* key : {"unix_socket_permissions", "unix_socket_group"})
      refuse_without_effect(admin, key, address->text() + " is not a Unix socket");
  for (const auto& listener : listeners_)
    for (const SocketAddress& mine : address->each())
      for (const SocketAddress& other : listener.values.address.each())
        if ((mine.is_unix() || mine.port != 0) && overlap(mine, other))
          return add_at(admin, "address", address->text() + " is also the address of a listener",
                        "Use another port or path.");
}

void ConfigBuilder::check_proxy_protocol(const SectionBuilder<ListenerConfig>& listener) {
  const auto& address = listener.values.address;
  const auto& proxies = listener.values.proxy_protocol_from;
  if (!has(listener, "proxy_protocol_from"))
    refuse_without_effect(listener, "proxy_protocol", "proxy_protocol_from is not set");
  else if (address.is_unix() && !proxies.networks.empty())
    add_at(listener, "proxy_protocol_from",
           "contains a network, but the clients of a Unix socket have no IP address",
           "Use " + spelled(listener, "proxy_protocol_from", "[\"unix\"]") + ".");
  else if (!address.is_unix() && proxies.unix_clients)
    add_at(listener, "proxy_protocol_from",
           "contains \"unix\", but " + address.text() + " is not a Unix socket",
           "Write the networks of the proxies.");
}

void ConfigBuilder::check_unix_listener(const SectionBuilder<ListenerConfig>& listener) {
  for (const char* key : {"reuse_port", "tcp_keepalives_idle", "tcp_keepalives_interval",
                          "tcp_keepalives_count", "tcp_user_timeout"})
    refuse_without_effect(listener, key, "a Unix socket does not use TCP");
  if (!listener.values.address.is_abstract()) return;
  for (const char* key : {"unix_socket_permissions", "unix_socket_group"})
    if (has(listener, key))
      add_at(listener, key, "has no effect: a Unix socket in the abstract namespace has no permissions",
             "Remove it, or use a path. Every process of this network namespace may connect to the abstract "
             "namespace.");
}

void ConfigBuilder::check_listener_tls(const SectionBuilder<ListenerConfig>& listener) {
  const auto& values = listener.values;
  if (values.address.is_unix()) {
    refuse_without_effect(listener, "tls", "a Unix socket never uses TLS");
    check_listener_without_tls(listener, "a Unix socket never uses TLS");
    return;
  }
  if (has(listener, "ssl_cert_file") && !has(listener, "ssl_key_file"))
    add_at(listener, "ssl_cert_file", "requires " + spelled(listener, "ssl_key_file"),
           "Set " + spelled(listener, "ssl_key_file", "\"/path/to/server.key\"") + ".");
  if (has(listener, "ssl_key_file") && !has(listener, "ssl_cert_file"))
    add_at(listener, "ssl_key_file", "requires " + spelled(listener, "ssl_cert_file"),
           "Set " + spelled(listener, "ssl_cert_file", "\"/path/to/server.crt\"") + ".");

  const auto policy = values.tls_policy();
  if (policy == ListenerTls::off) {
    check_listener_without_tls(listener, has(listener, "tls") ? "tls is off" : "ssl_cert_file is not set");
    return;
  }
  if (values.tls.certificates.empty())
    add_at(listener, "tls", "requires a certificate",
           "Set " + spelled(listener, "ssl_cert_file", "\"/path/to/server.crt\"") + " and " +
               spelled(listener, "ssl_key_file", "\"/path/to/server.key\"") + ".");
  check_ciphers(listener, values.tls);
  if (policy == ListenerTls::require)
    refuse_without_effect(listener, "sasl_mechanisms",
                          "it is for plaintext clients, and this listener requires TLS");
  else
    refuse_without_effect(listener, "plaintext_cancel", "this listener accepts plaintext");
}

template <class Section>
void ConfigBuilder::check_ciphers(const SectionBuilder<Section>& section,
                                  const tls::HandshakeSettings& settings) {
  if (settings.ssl_min_protocol_version > tls::Version::tls1_2 ||
      settings.post_quantum == tls::PostQuantum::require)
    refuse_without_effect(section, "ssl_ciphers", "it is for TLS 1.2 and older, which are not accepted");
  if (settings.ssl_max_protocol_version && *settings.ssl_max_protocol_version < tls::Version::tls1_3)
    refuse_without_effect(section, "ssl_tls13_ciphers", "it is for TLS 1.3, which is not accepted");
}

void ConfigBuilder::check_listener_without_tls(const SectionBuilder<ListenerConfig>& listener,
                                               const std::string& why) {
  for (const auto& setting : listener_settings())
    if (setting.only_for_tls) refuse_without_effect(listener, setting.key, why);
  for (const char* key : {"ssl_cert_file", "ssl_key_file"}) refuse_without_effect(listener, key, why);
  for (const auto& certificate : certificates_of(listener))
    add({certificate.place.file, certificate.place.line, certificate.key, "has no effect: " + why,
         "Remove it."});
}

void ConfigBuilder::check_listener_identity(const SectionBuilder<ListenerConfig>& listener) {
  for (const auto& [text, file] : {std::pair{"hba", "hba_file"}, std::pair{"ident", "ident_file"}})
    refuse_both(listener, file, text,
                "Remove one of them. To read a file from the rules, add the line \"include FILE\" to them.");
  const auto& values = listener.values;
  if (!values.log_client_identity)
    refuse_without_effect(listener, "client_identity_in", "log_client_identity is not set");
  else if (!values.address.is_unix() && values.tls.ssl_ca_file.empty())
    refuse_without_effect(listener, "log_client_identity",
                          "without ssl_ca_file, clients are not asked for a certificate");
  check_admin_database(listener);
}

void ConfigBuilder::check_admin_database(const SectionBuilder<ListenerConfig>& listener) {
  const auto& values = listener.values;
  if (values.admin_database.empty())
    return refuse_without_effect(listener, "admin_users", "admin_database is not set");
  if (values.admin_users.empty())
    add_at(listener, "admin_database", "has no effect: admin_users is empty, so nobody may use it",
           "Set admin_users to the database users who may use it.");
  for (const auto& [key, name] : {std::pair{"database", &values.database.fixed},
                                  std::pair{"default_database", &values.database.fallback}})
    if (*name == values.admin_database)
      add_at(listener, key, "is the admin database, so that clients would not reach the server",
             "Use another name for admin_database.");
}

void ConfigBuilder::check_listener_parameters(const SectionBuilder<ListenerConfig>& listener) {
  for (const auto& [fixed, fallback] :
       {std::pair{"database", "default_database"}, std::pair{"options", "default_options"},
        std::pair{"application_name", "default_application_name"}})
    refuse_both(listener, fallback, fixed,
                "Remove one of them: " + std::string(fixed) + " applies to all clients, " + fallback +
                    " to those that do not send it.");
  for (const auto& [key, name] : {std::pair{"database", &listener.values.database.fixed},
                                  std::pair{"default_database", &listener.values.database.fallback},
                                  std::pair{"admin_database", &listener.values.admin_database}})
    if (name->size() > protocol::kMaxNameBytes)
      add_at(listener, key, "is too long (" + std::to_string(name->size()) + " bytes)",
             "The name of a database has at most " + std::to_string(protocol::kMaxNameBytes) + " bytes.");
}

void ConfigBuilder::check_listeners_differ() {
  std::vector<std::pair<SocketAddress, int>> seen;  // with the line of the listener
  for (const auto& listener : listeners_) {
    const auto& address = listener.values.address;
    if (!address.is_unix() && address.port == 0) continue;  // not given, or any free port
    for (const auto& each : address.each()) {
      const auto first = std::find_if(seen.begin(), seen.end(),
                                      [&](const auto& other) { return overlap(each, other.first); });
      if (first == seen.end()) {
        seen.emplace_back(each, listener.place.line);
        continue;
      }
      refuse_address(listener, each, first->first, first->second);
      break;
    }
  }
}

void ConfigBuilder::refuse_address(const SectionBuilder<ListenerConfig>& listener,
                                   const SocketAddress& address, const SocketAddress& other, int line) {
  if (address.text() == other.text())
    return add_at(listener, "address",
                  address.text() + " is also the address of the listener in line " + std::to_string(line),
                  "Use a different address for each listener.");
  const std::string& all = is_for_all(address) ? address.host : other.host;
  add_at(listener, "address",
         address.text() + " overlaps with " + other.text() + ", the address of the listener in line " +
             std::to_string(line),
         all + " means all " + (all == kAllIpv6 ? "IPv6" : "IPv4") +
             " addresses of this machine. Remove one of the two listeners, or use another port.");
}

void ConfigBuilder::check_upstream_of(const SectionBuilder<ListenerConfig>& listener) {
  const std::string& wanted = listener.values.upstream;
  if (wanted.empty()) return;
  std::vector<std::string_view> names;
  for (const auto& upstream : upstreams_) names.push_back(upstream.values.config.name);
  if (const auto found = std::find(names.begin(), names.end(), wanted); found != names.end()) {
    const auto& upstream = upstreams_[static_cast<std::size_t>(found - names.begin())].values.config;
    if (listener.values.shared_certificate && !upstream.uses_tls())
      refuse_without_effect(listener, "shared_certificate",
                            "upstream " + in_quotes(wanted) + " does not use TLS");
    if (listener.values.connect_early) check_early_upstream(listener, upstream);
    return;
  }

  const auto near = values::nearest(wanted, names);
  std::string hint = "Add [upstream." + wanted + "].";
  if (!near.empty()) hint = values::did_you_mean(near);
  add_at(listener, "upstream", "upstream " + in_quotes(wanted) + " does not exist", std::move(hint));
}

void ConfigBuilder::check_early_upstream(const SectionBuilder<ListenerConfig>& listener,
                                         const UpstreamConfig& upstream) {
  const std::string named = "upstream " + in_quotes(upstream.name);
  if (!upstream.uses_tls())
    refuse_without_effect(listener, "connect_early",
                          named + " does not use TLS, so that connecting early saves no time");
  else if (upstream.preconnect > 0)
    refuse_without_effect(listener, "connect_early", named + " has preconnect, which is faster");
  else if (upstream.send_proxy_protocol)
    refuse_without_effect(
        listener, "connect_early",
        named + " has send_proxy_protocol, and the client's certificate is not known early");
  else if (!upstream.role_certificates.empty())
    refuse_without_effect(listener, "connect_early",
                          named + " has role_certificates, and the role is not known early");
}

void ConfigBuilder::check_upstream(SectionBuilder<UpstreamSection>& upstream) {
  check_required(upstream);
  const bool has_servers = put_hosts_together(upstream);
  if (has_servers) {
    check_hosts(upstream);
    if (upstream.values.config.sslmode == SslMode::disable) check_plaintext(upstream);
    const auto& servers = upstream.values.config.hosts;
    if (std::none_of(servers.begin(), servers.end(), [](const auto& host) { return host.is_unix(); }))
      refuse_without_effect(upstream, "requirepeer", "no host is a Unix socket");
    check_keepalives(upstream);
  }
  check_credentials(upstream);
  if (upstream.values.config.uses_tls() || !has_servers)
    check_tls(upstream);
  else
    check_without_tls(upstream);
}

// The three lists as libpq reads them (fe-connect.c: pqConnectOptions2). False where there is no server.
bool ConfigBuilder::put_hosts_together(SectionBuilder<UpstreamSection>& upstream) {
  const auto& hosts = upstream.values.hosts;
  const auto& addresses = upstream.values.hostaddrs;
  const auto& ports = upstream.values.ports;
  const std::size_t servers = addresses.empty() ? hosts.size() : addresses.size();
  if (servers == 0) {
    if (!has(upstream, "host") && !has(upstream, "hostaddr"))
      add_at(
          upstream, "host", "is missing",
          "Set the name of the server: " + spelled(upstream, "host", "\"db01.internal.example.com\"") + ".");
    return false;
  }
  if (!hosts.empty() && hosts.size() != servers)
    add_at(upstream, "hostaddr",
           "could not match " + std::to_string(hosts.size()) + " host names to " + std::to_string(servers) +
               " hostaddr values",
           "Give one address for each host.");
  if (ports.size() != 1 && ports.size() != servers)
    add_at(upstream, "port",
           "could not match " + std::to_string(ports.size()) + " port numbers to " + std::to_string(servers) +
               " hosts",
           "Give one port for all hosts, or one for each.");

  for (std::size_t i = 0; i < servers; ++i)
    upstream.values.config.hosts.push_back({.host = i < hosts.size() ? hosts[i] : "",
                                            .hostaddr = i < addresses.size() ? addresses[i] : "",
                                            .port = ports[i < ports.size() ? i : 0]});
  return true;
}

void ConfigBuilder::check_hosts(const SectionBuilder<UpstreamSection>& upstream) {
  for (const auto& host : upstream.values.config.hosts) {
    if (host.host.empty() && host.hostaddr.empty())
      add_at(upstream, "host", "contains an empty element", "Remove the comma beside it.");
    else if (host.host.empty() && upstream.values.config.sslmode == SslMode::verify_full)
      add_at(
          upstream, "host", "host name must be specified for a verified SSL connection",
          "Set " + spelled(upstream, "host") + " to the name in the certificate of " + host.hostaddr + ".");
    if (!host.is_unix()) continue;
    if (!host.hostaddr.empty())
      add_at(upstream, "hostaddr",
             "the Unix socket in " + in_quotes(host.host) + " cannot have a numeric address",
             "Remove the address of this host.");
    if (const auto size = host.unix_path().size(); size >= sizeof(sockaddr_un::sun_path))
      add_at(upstream, "host",
             "Unix socket path " + in_quotes(host.unix_path()) + " is too long (" + std::to_string(size) +
                 " bytes, maximum " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes)",
             "Use a directory with a shorter path.");
  }
}

void ConfigBuilder::check_plaintext(const SectionBuilder<UpstreamSection>& upstream) {
  for (const auto& host : upstream.values.config.hosts)
    if (!host.is_unix() && !is_loopback(host))
      add_at(upstream, "sslmode",
             "\"disable\" is not allowed for " + shown(host) + ", which is not on this machine",
             "Use " + spelled(upstream, "sslmode", "\"verify-full\"") +
                 ". Plaintext is allowed only to Unix sockets, loopback addresses and \"localhost\".");
}

void ConfigBuilder::check_keepalives(const SectionBuilder<UpstreamSection>& upstream) {
  const auto& servers = upstream.values.config.hosts;
  const bool all_unix =
      std::all_of(servers.begin(), servers.end(), [](const auto& host) { return host.is_unix(); });
  if (all_unix)
    for (const char* key : {"keepalives", "tcp_user_timeout"})
      refuse_without_effect(upstream, key, "all hosts are Unix sockets");
  if (all_unix || !upstream.values.config.keepalives)
    for (const char* key : {"keepalives_idle", "keepalives_interval", "keepalives_count"})
      refuse_without_effect(upstream, key,
                            all_unix
                                ? "all hosts are Unix sockets"
                                : "keepalives are not sent with " + spelled(upstream, "keepalives", "false"));
}

void ConfigBuilder::check_tls(const SectionBuilder<UpstreamSection>& upstream) {
  if (upstream.values.config.sslmode == SslMode::disable) return;
  const auto& settings = upstream.values.config.tls;
  if (!has(upstream, "sslrootcert"))
    add_at(upstream, "sslrootcert", "is missing, and is required to verify the server",
           "Set " + spelled(upstream, "sslrootcert", "\"/path/to/root.crt\"") +
               " to the CA that signed the server's certificate, or " +
               spelled(upstream, "sslrootcert", "\"system\"") + " to the CAs that this system trusts.");
  if (has(upstream, "sslcert") && !has(upstream, "sslkey"))
    add_at(upstream, "sslcert", "requires " + spelled(upstream, "sslkey"),
           "Set " + spelled(upstream, "sslkey", "\"/path/to/client.key\"") + ".");
  if (has(upstream, "sslkey") && !has(upstream, "sslcert"))
    add_at(upstream, "sslkey", "requires " + spelled(upstream, "sslcert"),
           "Set " + spelled(upstream, "sslcert", "\"/path/to/client.crt\"") + ".");
  if (has(upstream, "sslpassword") && !has(upstream, "sslkey"))
    add_at(upstream, "sslpassword", "requires " + spelled(upstream, "sslkey"),
           "Remove it, or set " + spelled(upstream, "sslkey", "\"/path/to/client.key\"") + ".");
  const auto max = settings.ssl_max_protocol_version;
  if (max && settings.ssl_min_protocol_version > *max)
    add_at(upstream, "ssl_max_protocol_version",
           std::string(tls::name_of(*max)) + " is older than " +
               spelled(upstream, "ssl_min_protocol_version") + ", " +
               std::string(tls::name_of(settings.ssl_min_protocol_version)),
           "Raise it, or lower " + spelled(upstream, "ssl_min_protocol_version") + ".");
  check_ciphers(upstream, settings);
}

void ConfigBuilder::check_credentials(const SectionBuilder<UpstreamSection>& upstream) {
  refuse_both(upstream, "password_command", "passfile", "Remove one of them.");
  refuse_both(
      upstream, "role_certificates", "sslcert",
      "Use role_certificates for a certificate of each role, or sslcert for one certificate for all roles.");
  if (const auto& command = upstream.values.config.password_command; !command.empty())
    if (auto error = check_password_command(command))
      add_at(upstream, "password_command", std::move(error->message), std::move(error->hint));
  if (upstream.values.config.preconnect == 0)
    refuse_without_effect(upstream, "preconnect_max_age", "preconnect is not set");
  else
    refuse_both(
        upstream, "preconnect", "role_certificates",
        "Remove one of them: a connection that is made before its login cannot use the certificate of a role.");
  if (upstream.values.config.preconnect > 0 && upstream.values.config.send_proxy_protocol)
    refuse_both(
        upstream, "preconnect", "send_proxy_protocol",
        "Remove one of them: a connection that is made before its client is known cannot begin with the "
        "client's address.");
  if (!has(upstream, "password_command"))
    for (const char* key : {"password_command_timeout", "password_command_ttl"})
      refuse_without_effect(upstream, key, "password_command is not set");
}

// A setting of TLS without TLS would promise a protection that does not exist.
void ConfigBuilder::check_without_tls(const SectionBuilder<UpstreamSection>& upstream) {
  const bool all_unix = upstream.values.config.sslmode != SslMode::disable;
  const std::string why = all_unix ? "a Unix socket never uses TLS"
                                   : "TLS is not used with " + spelled(upstream, "sslmode", "\"disable\"");
  if (all_unix) refuse_without_effect(upstream, "sslmode", why);
  for (const auto& setting : upstream_settings())
    if (setting.only_for_tls) refuse_without_effect(upstream, setting.key, why);
}

}  // namespace pgveil::proxy
