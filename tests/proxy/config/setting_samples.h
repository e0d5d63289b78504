// For every setting: a value that is not its default, one that is wrong, and where the value must arrive.
// Tests of the file, of the flags and of the variables go through the same rows; a setting without a row
// fails them.
#pragma once

#include <algorithm>
#include <chrono>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/settings.h"

namespace pgveil::proxy {

struct SettingSample {
  std::string section;  // "listener", "certificate", "upstream", "limits", "log", "audit", "reload", "admin"
  std::string key;
  std::string toml;
  std::string outside;    // as a flag or variable gives it
  std::string wrong;      // in both; empty: no text but the empty one is wrong
  std::string alongside;  // keys that it needs beside it, in TOML, one a line
  bool (*has_arrived)(const Config&);
};

inline void PrintTo(const SettingSample& sample, std::ostream* out) {
  *out << sample.section << '.' << sample.key;
}

inline const UpstreamConfig& only_upstream(const Config& config) {
  return config.upstreams.begin()->second;
}

inline constexpr const char* kCertificate = "ssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"";
inline constexpr const char* kCertificateAndCa =
    "ssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"\nssl_ca_file = \"/ca.crt\"";
inline constexpr const char* kCertificateCaAndIdentity =
    "ssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"\nssl_ca_file = \"/ca.crt\"\nlog_client_identity = "
    "true";

// clang-format off
inline const std::vector<SettingSample>& setting_samples() {
  using namespace std::chrono_literals;
  static const std::vector<SettingSample> kSamples{
      {"listener", "address", R"("[::1]:6432")", "[::1]:6432", "db01:5432", "",
       [](const Config& c) { return c.listeners[0].address.text() == "[::1]:6432"; }},
      {"listener", "upstream", R"("primary")", "", "", "",
       [](const Config& c) { return c.listeners[0].upstream == "primary"; }},
      {"listener", "allow_plaintext_from_network", "true", "true", "maybe", R"(address = "0.0.0.0:5432")",
       [](const Config& c) { return c.listeners[0].allow_plaintext_from_network; }},
      {"listener", "proxy_protocol_from", R"(["10.0.0.0/8", "fd00::7"])", "10.0.0.0/8,fd00::7", "10.0.0.0/33", "",
       [](const Config& c) { return c.listeners[0].proxy_protocol_from.networks.size() == 2; }},
      {"listener", "proxy_protocol", R"("optional")", "optional", "maybe", R"(proxy_protocol_from = "10.0.0.0/8")",
       [](const Config& c) { return c.listeners[0].proxy_protocol == ProxyProtocol::optional; }},
      {"listener", "tls", R"("optional")", "optional", "sometimes", kCertificate,
       [](const Config& c) { return c.listeners[0].tls_policy() == ListenerTls::optional; }},
      {"listener", "ssl_cert_file", R"("/s.crt")", "/s.crt", "", R"(ssl_key_file = "/s.key")",
       [](const Config& c) { return c.listeners[0].tls.certificates.at(0).ssl_cert_file == "/s.crt"; }},
      {"listener", "ssl_key_file", R"("/s.key")", "/s.key", "", R"(ssl_cert_file = "/s.crt")",
       [](const Config& c) { return c.listeners[0].tls.certificates.at(0).ssl_key_file == "/s.key"; }},
      {"listener", "ssl_passphrase_command", R"("echo sesame")", "echo sesame", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_passphrase_command == "echo sesame"; }},
      {"listener", "ssl_ca_file", R"("/ca.crt")", "/ca.crt", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_ca_file == "/ca.crt"; }},
      {"listener", "ssl_crl_file", R"("/ca.crl")", "/ca.crl", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_crl_file == "/ca.crl"; }},
      {"listener", "ssl_crl_dir", R"("/crls")", "/crls", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_crl_dir == "/crls"; }},
      {"listener", "ssl_min_protocol_version", R"("TLSv1.3")", "TLSv1.3", "TLSv1.4", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_min_protocol_version == tls::Version::tls1_3; }},
      {"listener", "ssl_max_protocol_version", R"("TLSv1.2")", "TLSv1.2", "SSLv3", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_max_protocol_version == tls::Version::tls1_2; }},
      {"listener", "ssl_ciphers", R"("HIGH")", "HIGH", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_ciphers == "HIGH"; }},
      {"listener", "ssl_tls13_ciphers", R"("TLS_AES_128_GCM_SHA256")", "TLS_AES_128_GCM_SHA256", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_tls13_ciphers == "TLS_AES_128_GCM_SHA256"; }},
      {"listener", "ssl_groups", R"("P-256")", "P-256", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_groups == "P-256"; }},
      {"listener", "ssl_signature_algorithms", R"("ecdsa_secp256r1_sha256")", "ecdsa_secp256r1_sha256", "", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.ssl_signature_algorithms == "ecdsa_secp256r1_sha256"; }},
      {"listener", "post_quantum", R"("require")", "require", "always", kCertificate,
       [](const Config& c) { return c.listeners[0].tls.post_quantum == tls::PostQuantum::require; }},
      {"listener", "ssl_prefer_server_ciphers", "false", "off", "both", kCertificate,
       [](const Config& c) { return !c.listeners[0].tls.ssl_prefer_server_ciphers; }},
      {"listener", "plaintext_cancel", R"("deny")", "deny", "never", kCertificate,
       [](const Config& c) { return c.listeners[0].plaintext_cancel == PlaintextCancel::deny; }},
      {"listener", "hba", R"("host all all all relay")", "host all all all relay", "", "",
       [](const Config& c) { return c.listeners[0].hba.text == "host all all all relay"; }},
      {"listener", "hba_file", R"("/pg_hba.conf")", "/pg_hba.conf", "", "",
       [](const Config& c) { return c.listeners[0].hba.file == "/pg_hba.conf"; }},
      {"listener", "ident", R"("map name user")", "map name user", "", "",
       [](const Config& c) { return c.listeners[0].ident.text == "map name user"; }},
      {"listener", "ident_file", R"("/pg_ident.conf")", "/pg_ident.conf", "", "",
       [](const Config& c) { return c.listeners[0].ident.file == "/pg_ident.conf"; }},
      {"listener", "auth_file", R"("/users.txt")", "/users.txt", "", "",
       [](const Config& c) { return c.listeners[0].auth_file == "/users.txt"; }},
      {"listener", "database", R"("ledger")", "ledger", "", "",
       [](const Config& c) { return c.listeners[0].database.fixed == "ledger"; }},
      {"listener", "default_database", R"("ledger")", "ledger", "", "",
       [](const Config& c) { return c.listeners[0].database.fallback == "ledger"; }},
      {"listener", "options", R"("-c work_mem=1MB")", "-c work_mem=1MB", "", "",
       [](const Config& c) { return c.listeners[0].options.fixed == "-c work_mem=1MB"; }},
      {"listener", "default_options", R"("-c work_mem=1MB")", "-c work_mem=1MB", "", "",
       [](const Config& c) { return c.listeners[0].options.fallback == "-c work_mem=1MB"; }},
      {"listener", "application_name", R"("shop")", "shop", "", "",
       [](const Config& c) { return c.listeners[0].application_name.fixed == "shop"; }},
      {"listener", "default_application_name", R"("shop")", "shop", "", "",
       [](const Config& c) { return c.listeners[0].application_name.fallback == "shop"; }},
      {"listener", "allowed_startup_parameters", R"("options, search_path")", "options, search_path", "options,", "",
       [](const Config& c) { return c.listeners[0].allowed_startup_parameters == std::vector<std::string>{"options", "search_path"}; }},
      {"listener", "shared_certificate", "true", "true", "half", kCertificate,
       [](const Config& c) { return c.listeners[0].shared_certificate; }},
      {"listener", "connect_early", "true", "true", "perhaps", kCertificate,
       [](const Config& c) { return c.listeners[0].connect_early; }},
      {"listener", "log_client_identity", "true", "true", "who", kCertificateAndCa,
       [](const Config& c) { return c.listeners[0].log_client_identity; }},
      {"listener", "client_identity_in", R"("options")", "options", "header", kCertificateCaAndIdentity,
       [](const Config& c) { return c.listeners[0].client_identity_in == ClientIdentityIn::options; }},
      {"listener", "admin_database", R"("pgveil")", "pgveil", "", "admin_users = \"operator\"",
       [](const Config& c) { return c.listeners[0].admin_database == "pgveil"; }},
      {"listener", "admin_users", R"("operator, dba")", "operator, dba", "operator,,dba", "admin_database = \"pgveil\"",
       [](const Config& c) { return c.listeners[0].admin_users == std::vector<std::string>{"operator", "dba"}; }},
      {"listener", "sasl_mechanisms", R"("verbatim")", "verbatim", "plus", "",
       [](const Config& c) { return c.listeners[0].sasl_mechanisms == SaslMechanisms::verbatim; }},
      {"listener", "unix_socket_permissions", R"("0770")", "0770", "rwx", R"(address = "unix:/run/.s.PGSQL.5432")",
       [](const Config& c) { return c.listeners[0].unix_socket_permissions == 0770; }},
      {"listener", "unix_socket_group", R"("app")", "app", "", R"(address = "unix:/run/.s.PGSQL.5432")",
       [](const Config& c) { return c.listeners[0].unix_socket_group == "app"; }},

      {"listener", "reuse_port", "true", "on", "2", "",
       [](const Config& c) { return c.listeners[0].reuse_port; }},
      {"listener", "tcp_keepalives_idle", R"("2min")", "2min", "500ms", "",
       [](const Config& c) { return c.listeners[0].tcp_keepalives_idle == 120s; }},
      {"listener", "tcp_keepalives_interval", R"("7s")", "7s", "7", "",
       [](const Config& c) { return c.listeners[0].tcp_keepalives_interval == 7s; }},
      {"listener", "tcp_keepalives_count", "9", "9", "128", "",
       [](const Config& c) { return c.listeners[0].tcp_keepalives_count == 9; }},
      {"listener", "tcp_user_timeout", R"("90s")", "90s", "90", "",
       [](const Config& c) { return c.listeners[0].tcp_user_timeout == 90s; }},

      {"listener", "max_sessions", "12", "12", "-1", "",
       [](const Config& c) { return c.listeners[0].limits.max_sessions == 12; }},
      {"listener", "max_sessions_per_user", "5", "5", "-1", "",
       [](const Config& c) { return c.listeners[0].limits.max_sessions_per_user == 5; }},
      {"listener", "max_sessions_per_address", "6", "6", "-1", "",
       [](const Config& c) { return c.listeners[0].limits.max_sessions_per_address == 6; }},
      {"listener", "reserved_sessions", "2", "2", "-1", R"(reserved_sessions_for = "ann")",
       [](const Config& c) { return c.listeners[0].limits.reserved_sessions == 2; }},
      {"listener", "reserved_sessions_for", R"("ann, bob")", "ann, bob", ",", "reserved_sessions = 2",
       [](const Config& c) { return c.listeners[0].limits.reserved_sessions_for == std::vector<std::string>{"ann", "bob"}; }},
      {"listener", "max_unauthenticated_clients", "100", "100", "-1", "",
       [](const Config& c) { return c.listeners[0].limits.max_unauthenticated_clients == 100; }},
      {"listener", "login_rate", R"("20/min")", "20/min", "20", "",
       [](const Config& c) { return c.listeners[0].limits.login_rate == Rate{20, 60s}; }},
      {"listener", "failed_login_delay", R"("2s")", "2s", "2", "",
       [](const Config& c) { return c.listeners[0].limits.failed_login_delay == 2s; }},
      {"listener", "session_lifetime", R"("1h")", "1h", "1", "",
       [](const Config& c) { return c.listeners[0].limits.session_lifetime == 1h; }},
      {"certificate", "server_names", R"("db07.example.com,*.db.example.com")", "", "192.0.2.7",
       kCertificate,
       [](const Config& c) { return c.listeners[0].tls.certificates.at(0).server_names.at(1) == "*.db.example.com"; }},
      {"certificate", "ssl_cert_file", R"("/s.crt")", "", "", "server_names = \"db\"\nssl_key_file = \"/s.key\"",
       [](const Config& c) { return c.listeners[0].tls.certificates.at(0).ssl_cert_file == "/s.crt"; }},
      {"certificate", "ssl_key_file", R"("/s.key")", "", "", "server_names = \"db\"\nssl_cert_file = \"/s.crt\"",
       [](const Config& c) { return c.listeners[0].tls.certificates.at(0).ssl_key_file == "/s.key"; }},

      {"upstream", "host", R"("db07")", "db07:5433", "db07.", "",
       [](const Config& c) { return only_upstream(c).hosts[0].host == "db07"; }},
      {"upstream", "send_proxy_protocol", "true", "true", "always", "",
       [](const Config& c) { return only_upstream(c).send_proxy_protocol; }},
      {"upstream", "hostaddr", R"("192.0.2.7")", "192.0.2.7", "db07", "",
       [](const Config& c) { return only_upstream(c).hosts[0].hostaddr == "192.0.2.7"; }},
      {"upstream", "port", "5433", "", "", "",
       [](const Config& c) { return only_upstream(c).hosts[0].port == 5433; }},
      {"upstream", "requirepeer", R"("postgres")", "postgres", "", R"(host = "/run/postgresql")",
       [](const Config& c) { return only_upstream(c).requirepeer == "postgres"; }},
      {"upstream", "connect_timeout", R"("3s")", "3s", "3", "",
       [](const Config& c) { return only_upstream(c).connect_timeout == 3s; }},
      {"upstream", "preconnect", "4", "4", "1001", "",
       [](const Config& c) { return only_upstream(c).preconnect == 4; }},
      {"upstream", "preconnect_max_age", R"("20s")", "20s", "30", "preconnect = 1",
       [](const Config& c) { return only_upstream(c).preconnect_max_age == 20s; }},
      {"upstream", "target_session_attrs", R"("any")", "any", "read-write", "",
       [](const Config&) { return true; }},
      {"upstream", "sslmode", R"("disable")", "disable", "prefer", R"(host = "127.0.0.1")",
       [](const Config& c) { return only_upstream(c).sslmode == SslMode::disable; }},
      {"upstream", "sslrootcert", R"("/r.crt")", "/r.crt", "", "",
       [](const Config& c) { return only_upstream(c).tls.sslrootcert == "/r.crt"; }},
      {"upstream", "sslcert", R"("/c.crt")", "/c.crt", "", R"(sslkey = "/c.key")",
       [](const Config& c) { return only_upstream(c).tls.sslcert == "/c.crt"; }},
      {"upstream", "sslkey", R"("/c.key")", "/c.key", "", R"(sslcert = "/c.crt")",
       [](const Config& c) { return only_upstream(c).tls.sslkey == "/c.key"; }},
      {"upstream", "sslpassword", R"("open sesame")", "open sesame", "", "sslcert = \"/c.crt\"\nsslkey = \"/c.key\"",
       [](const Config& c) { return only_upstream(c).tls.sslpassword == "open sesame"; }},
      {"upstream", "sslcrl", R"("/r.crl")", "/r.crl", "", "",
       [](const Config& c) { return only_upstream(c).tls.sslcrl == "/r.crl"; }},
      {"upstream", "sslcrldir", R"("/crls")", "/crls", "", "",
       [](const Config& c) { return only_upstream(c).tls.sslcrldir == "/crls"; }},
      {"upstream", "ssl_min_protocol_version", R"("TLSv1.3")", "tlsv1.3", "TLSv1.4", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_min_protocol_version == tls::Version::tls1_3; }},
      {"upstream", "ssl_max_protocol_version", R"("TLSv1.2")", "TLSv1.2", "SSLv3", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_max_protocol_version == tls::Version::tls1_2; }},
      {"upstream", "ssl_ciphers", R"("HIGH")", "HIGH", "", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_ciphers == "HIGH"; }},
      {"upstream", "ssl_tls13_ciphers", R"("TLS_AES_128_GCM_SHA256")", "TLS_AES_128_GCM_SHA256", "", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_tls13_ciphers == "TLS_AES_128_GCM_SHA256"; }},
      {"upstream", "ssl_groups", R"("P-256")", "P-256", "", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_groups == "P-256"; }},
      {"upstream", "ssl_signature_algorithms", R"("ecdsa_secp256r1_sha256")", "ecdsa_secp256r1_sha256", "", "",
       [](const Config& c) { return only_upstream(c).tls.ssl_signature_algorithms == "ecdsa_secp256r1_sha256"; }},
      {"upstream", "post_quantum", R"("require")", "require", "always", "",
       [](const Config& c) { return only_upstream(c).tls.post_quantum == tls::PostQuantum::require; }},
      {"upstream", "certificate_common_name", R"("never")", "never", "always", "",
       [](const Config& c) { return only_upstream(c).tls.certificate_common_name == tls::CommonNameRule::never; }},
      {"upstream", "sslnegotiation", R"("direct")", "direct", "eager", "",
       [](const Config& c) { return only_upstream(c).sslnegotiation == SslNegotiation::direct; }},
      {"upstream", "sslsni", "false", "off", "2", "",
       [](const Config& c) { return !only_upstream(c).sslsni; }},
      {"upstream", "channel_binding", R"("require")", "require", "maybe", "",
       [](const Config& c) { return only_upstream(c).channel_binding == protocol::ChannelBinding::require; }},
      {"upstream", "require_auth", R"("md5,none")", "md5,none", "kerberos", "",
       [](const Config& c) { return only_upstream(c).require_auth == AuthMethods{AuthMethod::md5, AuthMethod::none}; }},
      {"upstream", "passfile", R"("/pgpass")", "/pgpass", "", "",
       [](const Config& c) { return only_upstream(c).passfile == "/pgpass"; }},
      {"upstream", "password_command", R"(["/bin/token", "%u"])", "", "/bin/token", "",
       [](const Config& c) { return only_upstream(c).password_command == std::vector<std::string>{"/bin/token", "%u"}; }},
      {"upstream", "password_command_timeout", R"("3s")", "", "0s", R"(password_command = ["/bin/token"])",
       [](const Config& c) { return only_upstream(c).password_command_timeout == 3s; }},
      {"upstream", "password_command_ttl", R"("5min")", "", "-1s", R"(password_command = ["/bin/token"])",
       [](const Config& c) { return only_upstream(c).password_command_ttl == 5min; }},
      {"upstream", "role_certificates", R"("/roles")", "/roles", "", "",
       [](const Config& c) { return only_upstream(c).role_certificates == "/roles"; }},
      {"upstream", "keepalives", "false", "0", "never", "",
       [](const Config& c) { return !only_upstream(c).keepalives; }},
      {"upstream", "keepalives_idle", R"("2min")", "2min", "500ms", "",
       [](const Config& c) { return only_upstream(c).keepalives_idle == 120s; }},
      {"upstream", "keepalives_interval", R"("7s")", "7s", "7", "",
       [](const Config& c) { return only_upstream(c).keepalives_interval == 7s; }},
      {"upstream", "keepalives_count", "9", "9", "128", "",
       [](const Config& c) { return only_upstream(c).keepalives_count == 9; }},
      {"upstream", "tcp_user_timeout", R"("30s")", "30s", "-1s", "",
       [](const Config& c) { return only_upstream(c).tcp_user_timeout == 30s; }},

      {"limits", "startup_timeout", R"("500ms")", "500ms", "0s", "",
       [](const Config& c) { return c.limits.startup_timeout == 500ms; }},
      {"limits", "idle_timeout", R"("1h")", "1h", "forever", "",
       [](const Config& c) { return c.limits.idle_timeout == 1h; }},
      {"limits", "drain_delay", R"("3s")", "3s", "2d", "",
       [](const Config& c) { return c.limits.drain_delay == 3'000ms; }},
      {"limits", "drain_timeout", R"("0s")", "0s", "2d", "",
       [](const Config& c) { return c.limits.drain_timeout == 0ms; }},
      {"limits", "max_sessions", "12", "12", "0", "",
       [](const Config& c) { return c.limits.max_sessions == 12; }},
      {"limits", "max_unauthenticated_clients", "13", "13", "0", "",
       [](const Config& c) { return c.limits.max_unauthenticated_clients == 13; }},
      {"limits", "relay_buffer", R"("64KiB")", "64KiB", "5MiB", "",
       [](const Config& c) { return c.limits.relay_buffer == 65'536; }},
      {"limits", "core_dumps", "true", "on", "2", "",
       [](const Config& c) { return c.limits.core_dumps; }},
      {"limits", "workers", "4", "4", "257", "",
       [](const Config& c) { return c.limits.workers == 4; }},
      {"limits", "relay", R"("epoll")", "epoll", "kqueue", "",
       [](const Config& c) { return c.limits.relay == RelayEngine::epoll; }},
      {"limits", "tls_records", R"("own")", "own", "kernel", "",
       [](const Config& c) { return c.limits.tls_records == tls::Records::own; }},

      {"log", "level", R"("debug")", "debug", "verbose", "",
       [](const Config& c) { return c.log.level == LogLevel::debug; }},
      {"log", "format", R"("json")", "json", "xml", "",
       [](const Config& c) { return c.log.format == LogFormat::json; }},
      {"log", "session_start", "false", "off", "2", "",
       [](const Config& c) { return !c.log.session_start; }},
      {"log", "certificate_warning", R"("14d")", "14d", "soon", "",
       [](const Config& c) { return c.log.certificate_warning == std::chrono::hours(14 * 24); }},
      {"audit", "target", R"("stdout")", "stdout", "kafka", "",
       [](const Config& c) { return c.audit.target == AuditTarget::standard_output; }},
      {"audit", "file", R"("/audit.json")", "/audit.json", "", R"(target = "file")",
       [](const Config& c) { return c.audit.file == "/audit.json"; }},
      {"audit", "socket", R"("/run/log")", "/run/log", "", R"(target = "syslog")",
       [](const Config& c) { return c.audit.socket == "/run/log"; }},
      {"audit", "syslog_facility", R"("local3")", "local3", "mail", R"(target = "journald")",
       [](const Config& c) { return c.audit.syslog_facility == SyslogFacility::local3; }},
      {"audit", "fail", R"("open")", "open", "maybe", R"(target = "stdout")",
       [](const Config& c) { return c.audit.fail == AuditFailure::open; }},
      {"audit", "stranger_rate", R"("20/min")", "20/min", "20", "",
       [](const Config& c) { return c.audit.stranger_rate == Rate{20, 1min}; }},
      {"reload", "watch", "false", "off", "2", "",
       [](const Config& c) { return !c.reload.watch; }},
      {"reload", "sessions", R"("revalidate")", "revalidate", "end", "",
       [](const Config& c) { return c.reload.sessions == ReloadSessions::revalidate; }},
      {"admin", "address", R"("127.0.0.1:9187")", "127.0.0.1:9187", "9187", "",
       [](const Config& c) { return c.admin.address && c.admin.address->port == 9187; }},
      {"admin", "allow_from_network", "true", "on", "2", R"(address = "0.0.0.0:9187")",
       [](const Config& c) { return c.admin.allow_from_network; }},
      {"admin", "unix_socket_permissions", R"("0660")", "0660", "0999", R"(address = "unix:/run/admin")",
       [](const Config& c) { return c.admin.unix_socket_permissions == 0660; }},
      {"admin", "unix_socket_group", R"("monitoring")", "monitoring", "", R"(address = "unix:/run/admin")",
       [](const Config& c) { return c.admin.unix_socket_group == "monitoring"; }},
      {"admin", "liveness_limit", R"("3s")", "3s", "0s", R"(address = "127.0.0.1:9187")",
       [](const Config& c) { return c.admin.liveness_limit == 3s; }},
      {"admin", "allow_quit", "true", "on", "2", R"(address = "127.0.0.1:9187")",
       [](const Config& c) { return c.admin.allow_quit; }},
      {"admin", "upstream_check_interval", R"("30s")", "30s", "2d", R"(address = "127.0.0.1:9187")",
       [](const Config& c) { return c.admin.upstream_check_interval == 30s; }},
      {"admin", "labels", R"("user,address")", "user,address", "port", R"(address = "127.0.0.1:9187")",
       [](const Config& c) { return c.admin.labels.user && !c.admin.labels.database && c.admin.labels.address; }},
      {"admin", "label_limit", "20", "20", "0", "address = \"127.0.0.1:9187\"\nlabels = \"user\"",
       [](const Config& c) { return c.admin.label_limit == 20U; }},
  };
  return kSamples;
}
// clang-format on

// Calls `use` with each setting and the name of its section.
template <class Use>
void for_each_setting(const Use& use) {
  for (const auto& setting : listener_settings()) use(std::string("listener"), setting);
  for (const auto& setting : certificate_settings()) use(std::string("certificate"), setting);
  for (const auto& setting : upstream_settings()) use(std::string("upstream"), setting);
  for (const auto& setting : limits_settings()) use(std::string("limits"), setting);
  for (const auto& setting : log_settings()) use(std::string("log"), setting);
  for (const auto& setting : audit_settings()) use(std::string("audit"), setting);
  for (const auto& setting : reload_settings()) use(std::string("reload"), setting);
  for (const auto& setting : admin_settings()) use(std::string("admin"), setting);
}

// What a test needs to know of a setting, whatever its section.
struct SettingNames {
  std::string section, key, flag, variable, type, default_text;
  bool required = false;
};
inline std::vector<SettingNames> all_settings() {
  std::vector<SettingNames> all;
  for_each_setting([&all](const std::string& section, const auto& setting) {
    all.push_back({section, std::string(setting.key), setting.flag(), setting.variable(), setting.type(),
                   setting.default_text(), setting.required});
  });
  return all;
}
inline SettingNames names_of(const SettingSample& sample) {
  for (const auto& names : all_settings())
    if (names.section == sample.section && names.key == sample.key) return names;
  return {};
}

// A sound configuration as lines of sections, in which single keys are replaced.
class TomlLines {
 public:
  TomlLines() {
    set("listener", R"(address = "127.0.0.1:5432")");
    set("listener", R"(upstream = "primary")");
    set("upstream", R"(host = "db01.example.com")");
    set("upstream", R"(sslrootcert = "system")");
  }
  // Replaces the key of `line` or adds it.
  TomlLines& set(const std::string& section, const std::string& line) {
    remove(section, line.substr(0, line.find(' ')));
    lines_.push_back({section, line});
    return *this;
  }
  TomlLines& remove(const std::string& section, const std::string& key) {
    std::erase_if(lines_, [&](const Line& line) {
      return line.section == section && line.text.starts_with(key + " =");
    });
    return *this;
  }
  [[nodiscard]] std::string text() const {
    std::string text;
    for (const auto& [section, header] : {std::pair<std::string, std::string>{"listener", "[[listener]]"},
                                          {"certificate", "[[listener.certificate]]"},
                                          {"upstream", "[upstream.primary]"},
                                          {"limits", "[limits]"},
                                          {"log", "[log]"},
                                          {"audit", "[audit]"},
                                          {"reload", "[reload]"},
                                          {"admin", "[admin]"}}) {
      const auto is_of_it = [&name = section](const Line& line) { return line.section == name; };
      if (std::any_of(lines_.begin(), lines_.end(), is_of_it)) text += header + '\n';
      for (const auto& line : lines_)
        if (line.section == section) text += line.text + '\n';
    }
    return text;
  }

 private:
  struct Line {
    std::string section, text;
  };
  std::vector<Line> lines_;
};

// "a\nb" as two lines.
inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// TLS settings are refused without TLS.
inline TomlLines toml_with(const SettingSample& sample, const std::string& value) {
  TomlLines toml;
  if (sample.key == "sslmode" || sample.key == "requirepeer") toml.remove("upstream", "sslrootcert");
  for (const auto& line : lines_of(sample.alongside)) toml.set(sample.section, line);
  return toml.set(sample.section, sample.key + " = " + value);
}

}  // namespace pgveil::proxy
