#include "proxy/config/settings.h"

#include <array>
#include <cctype>
#include <cstdint>

#include "proxy/config/address_values.h"
#include "proxy/config/list_values.h"
#include "proxy/config/number_values.h"
#include "proxy/config/values.h"
#include "proxy/config/word_values.h"

namespace pgveil::proxy {
namespace {

using values::AdminAddress;
using values::AuthMethodList;
using values::Boolean;
using values::CommandWords;
using values::Duration;
using values::HostList;
using values::Integer;
using values::kLongest;
using values::LabelList;
using values::ListenAddress;
using values::NameList;
using values::NumericAddressList;
using values::OneOf;
using values::Path;
using values::Permissions;
using values::PortList;
using values::ProxyList;
using values::RateOrNone;
using values::RateValue;
using values::RawValue;
using values::read_hosts_and_ports;
using values::Secret;
using values::ServerNameList;
using values::Size;
using values::Text;
using values::TlsVersion;

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kSecond = 1000;
// The kernel's MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL and MAX_TCP_KEEPCNT (include/net/tcp.h).
constexpr std::int64_t kLongestKeepalive = 32'767 * kSecond;
constexpr std::int64_t kMaxKeepalives = 127;
constexpr std::int64_t kMaxSessions = 1'000'000;
constexpr std::int64_t kMaxLabels = 10'000;

template <class Member>
struct SectionOf;
template <class Section, class T>
struct SectionOf<T Section::*> {
  using type = Section;
};

// A row of the table: values of `Type`, kept in the member that `First` and `Rest` lead to.
template <class Type, auto First, auto... Rest>
constexpr auto setting(std::string_view key, std::string_view effect) {
  using Section = typename SectionOf<decltype(First)>::type;
  Setting<Section> row{};
  row.key = key;
  row.effect = effect;
  row.type = &Type::type;
  row.set = [](const RawValue& raw, Section& section) -> std::optional<ConfigError> {
    auto value = Type::read(raw);
    if (!value) return std::move(value).error();
    ((section.*First).*....*Rest) = *std::move(value);
    return std::nullopt;
  };
  row.show = [](const Section& section) { return Type::show(((section.*First).*....*Rest)); };
  return row;
}

template <class Section>
constexpr Setting<Section> required(Setting<Section> row) {
  row.required = true;
  return row;
}

template <class Section>
constexpr Setting<Section> only_for_tls(Setting<Section> row) {
  row.only_for_tls = true;
  return row;
}

template <class Section>
constexpr Setting<Section> needs_restart(Setting<Section> row) {
  row.needs_restart = true;
  return row;
}

template <class Section>
constexpr Setting<Section> secret(Setting<Section> row) {
  row.secret = true;
  row.outside = OptionSource::variable_only;
  return row;
}

template <class Section>
constexpr Setting<Section> shown_in_part(Setting<Section> row) {
  row.shown_in_part = true;
  return row;
}

template <class Section>
constexpr Setting<Section> only_in_files(Setting<Section> row) {
  row.outside = OptionSource::nowhere;
  return row;
}

template <class Section>
constexpr Setting<Section> with_flag(std::string_view flag, Setting<Section> row) {
  row.own_flag = flag;
  return row;
}

// `host` as --upstream gives it: with the ports.
constexpr Setting<UpstreamSection> with_ports(Setting<UpstreamSection> row) {
  row.set_outside = [](const RawValue& raw, UpstreamSection& section) -> std::optional<ConfigError> {
    auto servers = read_hosts_and_ports(raw);
    if (!servers) return std::move(servers).error();
    section.hosts = std::move(servers->hosts);
    section.ports = std::move(servers->ports);
    return std::nullopt;
  };
  return row;
}

}  // namespace

std::span<const Setting<ListenerConfig>> listener_settings() {
  using L = ListenerConfig;
  using C = tls::ServerCertificate;
  using T = tls::ServerSettings;
  using M = ListenerLimits;
  static constexpr std::array kRows{
      with_flag("listen", required(setting<ListenAddress, &L::address>(
                              "address",
                              "Where clients connect: `127.0.0.1:5432`, `[::1]:5432`, `localhost:5432`, "
                              "`unix:DIR/.s.PGSQL.PORT`, `unix:@NAME`; port 0 is any free one."))),
      only_in_files(required(setting<Text, &L::upstream>(
          "upstream", "The NAME of the `[upstream.NAME]` that the sessions of this listener go to."))),
      setting<Boolean, &L::allow_plaintext_from_network>(
          "allow_plaintext_from_network",
          "Allows plaintext clients from the network: everyone on the path can read and alter "
          "their sessions."),
      setting<ProxyList, &L::proxy_protocol_from>(
          "proxy_protocol_from",
          "The proxies that send a PROXY header (versions 1 and 2) with the client's address: networks, or `unix` for "
          "the clients of a Unix socket."),
      setting<OneOf<values::kProxyProtocols>, &L::proxy_protocol>(
          "proxy_protocol",
          "`required` closes a connection from `proxy_protocol_from` without a PROXY header; `optional` takes both."),
      setting<values::ListenerTlsWord, &L::tls_setting>("tls",
                                                        "`require` refuses plaintext sessions, and is the "
                                                        "default with a certificate; `optional` takes both; "
                                                        "`off` is the default without one."),
      setting<Path, &L::certificate, &C::ssl_cert_file>(
          "ssl_cert_file", "The certificate that clients see, with its chain (PEM); needs `ssl_key_file`."),
      setting<Path, &L::certificate, &C::ssl_key_file>(
          "ssl_key_file", "The private key of `ssl_cert_file`; mode 0600, or 0640 if root owns it."),
      only_for_tls(shown_in_part(setting<Text, &L::tls, &T::ssl_passphrase_command>(
          "ssl_passphrase_command",
          "A shell command that prints the passphrase of an encrypted key as its first line; `%p` "
          "is the prompt."))),
      only_for_tls(
          setting<Path, &L::tls, &T::ssl_ca_file>("ssl_ca_file",
                                                  "Asks clients for a certificate, and trusts these CAs "
                                                  "(PEM) to have issued it. The rules say who needs "
                                                  "one.")),
      only_for_tls(setting<Path, &L::tls, &T::ssl_crl_file>(
          "ssl_crl_file", "Certificate revocation lists (PEM) for the whole chain of client certificates.")),
      only_for_tls(setting<Path, &L::tls, &T::ssl_crl_dir>(
          "ssl_crl_dir",
          "A directory of certificate revocation lists for client certificates, as `openssl "
          "rehash` prepares it.")),
      only_for_tls(with_flag("listener-ssl-min-protocol-version",
                             setting<TlsVersion, &L::tls, &T::ssl_min_protocol_version>(
                                 "ssl_min_protocol_version", "The oldest TLS version to accept."))),
      only_for_tls(with_flag("listener-ssl-max-protocol-version",
                             setting<TlsVersion, &L::tls, &T::ssl_max_protocol_version>(
                                 "ssl_max_protocol_version",
                                 "The newest TLS version to accept; default is the newest there is."))),
      only_for_tls(setting<Text, &L::tls, &T::ssl_ciphers>(
          "ssl_ciphers", "Ciphers of TLS 1.2 and older, as OpenSSL's cipher list.")),
      only_for_tls(setting<Text, &L::tls, &T::ssl_tls13_ciphers>(
          "ssl_tls13_ciphers", "Cipher suites of TLS 1.3, with colons between; default is OpenSSL's.")),
      only_for_tls(
          setting<Text, &L::tls, &T::ssl_groups>("ssl_groups",
                                                 "Groups of the key exchange, with colons between; default "
                                                 "is OpenSSL's, post-quantum where it can.")),
      only_for_tls(setting<Text, &L::tls, &T::ssl_signature_algorithms>(
          "ssl_signature_algorithms",
          "Signature algorithms of either side, with colons between; default is OpenSSL's.")),
      only_for_tls(setting<OneOf<values::kPostQuantum>, &L::tls, &T::post_quantum>(
          "post_quantum",
          "`require` takes only TLS 1.3 with a hybrid key exchange of ML-KEM (OpenSSL 3.5 or newer); "
          "`prefer` "
          "takes others, too.")),
      only_for_tls(setting<Boolean, &L::tls, &T::ssl_prefer_server_ciphers>(
          "ssl_prefer_server_ciphers",
          "Takes the first cipher of pgveil's list that the client offers, not the first of the "
          "client's list.")),
      only_for_tls(setting<OneOf<values::kPlaintextCancels>, &L::plaintext_cancel>(
          "plaintext_cancel",
          "Whether a cancel request may come in plaintext where sessions may not; psql's Ctrl-C always "
          "does.")),
      only_for_tls(setting<Boolean, &L::connect_early>(
          "connect_early",
          "Connects to the server while a client still shakes hands, before it is known who it is.")),
      setting<Text, &L::hba, &TextOrFile::text>(
          "hba", "Rules in the format of pg_hba.conf: who may come in, and how. See docs/access-rules.md."),
      setting<Path, &L::hba, &TextOrFile::file>(
          "hba_file", "A file with rules in the format of pg_hba.conf, in place of `hba`."),
      setting<Text, &L::ident, &TextOrFile::text>(
          "ident", "Maps in the format of pg_ident.conf: which certificate may be which database user."),
      setting<Path, &L::ident, &TextOrFile::file>(
          "ident_file", "A file with maps in the format of pg_ident.conf, in place of `ident`."),
      setting<Path, &L::auth_file>(
          "auth_file",
          "The users of method scram-sha-256 with their secrets, in the format of PgBouncer's userlist.txt; "
          "mode 0600."),
      setting<Text, &L::database, &FixedOrDefault::fixed>(
          "database", "The database of every session, whatever was asked."),
      setting<Text, &L::database, &FixedOrDefault::fallback>(
          "default_database", "The database of a client that names none; default is the user's name."),
      setting<Text, &L::options, &FixedOrDefault::fixed>(
          "options", "The startup parameter `options` of every session, such as `-c statement_timeout=5s`."),
      setting<Text, &L::options, &FixedOrDefault::fallback>(
          "default_options", "The startup parameter `options` of a client that sends none."),
      setting<Text, &L::application_name, &FixedOrDefault::fixed>("application_name",
                                                                  "The application_name of every session."),
      setting<Text, &L::application_name, &FixedOrDefault::fallback>(
          "default_application_name", "The application_name of a client that sends none."),
      setting<NameList, &L::allowed_startup_parameters>(
          "allowed_startup_parameters",
          "The startup parameters that a client of method cert, peer or trust may send besides "
          "user and database."),
      only_for_tls(
          setting<Boolean, &L::shared_certificate>("shared_certificate",
                                                   "The server has the same certificate and key as this "
                                                   "listener: channel binding then passes through.")),
      setting<Boolean, &L::log_client_identity>(
          "log_client_identity", "Tells the server the client's identity, as information and not as proof."),
      setting<OneOf<values::kClientIdentityIn>, &L::client_identity_in>(
          "client_identity_in",
          "Where the server is told the client's identity: after the client's `application_name`, "
          "or in `options` as `pgveil.client_dn` and `pgveil.system_user`."),
      setting<Text, &L::admin_database>(
          "admin_database",
          "The name of a database that pgveil serves itself, for `SHOW SESSIONS`, `RELOAD` and others; default is none."),
      setting<NameList, &L::admin_users>(
          "admin_users", "The database users who may use `admin_database`, once a rule has let them in."),
      setting<OneOf<values::kSaslMechanisms>, &L::sasl_mechanisms>(
          "sasl_mechanisms",
          "`strip` hides SCRAM-SHA-256-PLUS, which no plaintext client can do; `verbatim` hides nothing."),
      setting<Boolean, &L::reuse_port>(
          "reuse_port", "Lets a second pgveil of the same user listen on the same address, for an upgrade."),
      setting<Permissions, &L::unix_socket_permissions>(
          "unix_socket_permissions", "Mode of the Unix socket; who may write, may connect."),
      setting<Text, &L::unix_socket_group>(
          "unix_socket_group", "Group of the Unix socket, by name or number; default is the process's."),
      setting<Duration<seconds, 0, kLongestKeepalive>, &L::tcp_keepalives_idle>(
          "tcp_keepalives_idle",
          "Silence before the first keepalive to a client; `0s` is the system's default."),
      setting<Duration<seconds, 0, kLongestKeepalive>, &L::tcp_keepalives_interval>(
          "tcp_keepalives_interval", "Time between unanswered keepalives; `0s` is the system's default."),
      setting<Integer<int, 0, kMaxKeepalives>, &L::tcp_keepalives_count>(
          "tcp_keepalives_count",
          "Unanswered keepalives until the client counts as lost; 0 is the system's default."),
      with_flag(
          "listener-tcp-user-timeout",
          setting<Duration<milliseconds, 0, kLongest>, &L::tcp_user_timeout>(
              "tcp_user_timeout",
              "How long bytes to a client may stay unacknowledged or unread; `0s` is the system's default.")),
      with_flag("listener-max-sessions",
                setting<Integer<std::size_t, 0, kMaxSessions>, &L::limits, &M::max_sessions>(
                    "max_sessions",
                    "Sessions of this listener at a time; 0: only the limit of the process counts.")),
      setting<Integer<std::size_t, 0, kMaxSessions>, &L::limits, &M::max_sessions_per_user>(
          "max_sessions_per_user", "Sessions of one database user at a time; 0 sets no limit."),
      setting<Integer<std::size_t, 0, kMaxSessions>, &L::limits, &M::max_sessions_per_address>(
          "max_sessions_per_address",
          "Sessions of one client address at a time (IPv6: of one /64); 0 sets no limit."),
      setting<Integer<std::size_t, 0, kMaxSessions>, &L::limits, &M::reserved_sessions>(
          "reserved_sessions",
          "Sessions of `max_sessions` that are kept for the users of `reserved_sessions_for`."),
      setting<NameList, &L::limits, &M::reserved_sessions_for>(
          "reserved_sessions_for", "The database users that may use `reserved_sessions`."),
      with_flag(
          "listener-max-unauthenticated-clients",
          setting<Integer<std::size_t, 0, kMaxSessions>, &L::limits, &M::max_unauthenticated_clients>(
              "max_unauthenticated_clients",
              "Clients of this listener at a time that no rule has let in yet, for example in their TLS "
              "handshake; 0: only the limit of the process counts.")),
      setting<RateValue, &L::limits, &M::login_rate>(
          "login_rate",
          "Logins of one client address, such as `20/min`: as many at once, and then as many in each minute."),
      setting<Duration<milliseconds, 0, values::kDay>, &L::limits, &M::failed_login_delay>(
          "failed_login_delay",
          "After a failed login, the time between logins of that client address until one succeeds; `0s` is none."),
      setting<Duration<milliseconds, 0, kLongest>, &L::limits, &M::session_lifetime>(
          "session_lifetime",
          "Ends a session that is older as soon as it is idle outside a transaction; `0s` is never."),
  };
  return kRows;
}

std::span<const Setting<tls::ServerCertificate>> certificate_settings() {
  using C = tls::ServerCertificate;
  static constexpr std::array kRows{
      only_in_files(required(setting<ServerNameList, &C::server_names>(
          "server_names",
          "The names in SNI that the certificate is for: `db.example.com`, or `*.example.com` for "
          "one label in front."))),
      only_in_files(required(
          setting<Path, &C::ssl_cert_file>("ssl_cert_file", "The certificate with its chain (PEM)."))),
      only_in_files(
          required(setting<Path, &C::ssl_key_file>("ssl_key_file", "The private key of the certificate."))),
  };
  return kRows;
}

std::span<const Setting<UpstreamSection>> upstream_settings() {
  using U = UpstreamSection;
  using C = UpstreamConfig;
  using T = tls::ClientSettings;
  static constexpr std::array kRows{
      with_flag("upstream",
                with_ports(setting<HostList, &U::hosts>(
                    "host",
                    "Names that the certificate must carry, tried in order; or directories of Unix sockets. "
                    "`--upstream` takes the ports too: `db01:5432,db02:5433`."))),
      setting<NumericAddressList, &U::hostaddrs>(
          "hostaddr", "Numeric addresses to connect to, one for each `host`; names are then not resolved."),
      only_in_files(setting<PortList, &U::ports>("port", "One port for all hosts, or one for each.")),
      setting<Text, &U::config, &C::requirepeer>(
          "requirepeer", "The system user that must run the server; for hosts that are Unix sockets."),
      setting<Duration<milliseconds, 0, kLongest>, &U::config, &C::connect_timeout>(
          "connect_timeout",
          "How long connecting to one address may take, less if other addresses follow; `0s` sets no limit "
          "of its own."),
      only_for_tls(setting<Integer<unsigned, 0, kMaxPreconnected>, &U::config, &C::preconnect>(
          "preconnect",
          "Verified connections that are kept ready for sessions to come, of all workers together.")),
      only_for_tls(setting<Duration<milliseconds, kSecond, values::kDay>, &U::config, &C::preconnect_max_age>(
          "preconnect_max_age",
          "How long a connection of `preconnect` may wait for its session before it is renewed; less "
          "than the server's `authentication_timeout`.")),
      setting<Boolean, &U::config, &C::send_proxy_protocol>(
          "send_proxy_protocol",
          "Sends a PROXY header (version 2) with the client's address and certificate, to a server that is a proxy, too."),
      setting<values::SessionAttributes, &U::target_session_attrs>("target_session_attrs",
                                                                   "Only `any` is supported."),
      setting<values::SslModeWord, &U::config, &C::sslmode>(
          "sslmode",
          "`verify-full` encrypts to the server that `host` names, and to no other; `disable` is accepted "
          "for "
          "Unix sockets and loopback addresses only."),
      only_for_tls(setting<Path, &U::config, &C::tls, &T::sslrootcert>(
          "sslrootcert",
          "The CA certificates to trust (PEM), or `system` for those of the system; required for TLS.")),
      only_for_tls(setting<Path, &U::config, &C::tls, &T::sslcert>(
          "sslcert", "Our certificate for the server, with its chain (PEM); needs `sslkey`.")),
      only_for_tls(setting<Path, &U::config, &C::tls, &T::sslkey>(
          "sslkey", "The private key of `sslcert`; mode 0600, or 0640 if root owns it.")),
      only_for_tls(secret(setting<Secret, &U::config, &C::tls, &T::sslpassword>(
          "sslpassword", "The passphrase of `sslkey`. Has a variable but no option."))),
      only_for_tls(setting<Path, &U::config, &C::tls, &T::sslcrl>(
          "sslcrl", "Certificate revocation lists (PEM); every certificate of the chain is checked.")),
      only_for_tls(setting<Path, &U::config, &C::tls, &T::sslcrldir>(
          "sslcrldir", "A directory of revocation lists, as `openssl rehash` prepares it.")),
      only_for_tls(setting<TlsVersion, &U::config, &C::tls, &T::ssl_min_protocol_version>(
          "ssl_min_protocol_version", "The oldest TLS version to accept.")),
      only_for_tls(setting<TlsVersion, &U::config, &C::tls, &T::ssl_max_protocol_version>(
          "ssl_max_protocol_version", "The newest TLS version to offer; default is the newest there is.")),
      only_for_tls(with_flag("upstream-ssl-ciphers",
                             setting<Text, &U::config, &C::tls, &T::ssl_ciphers>(
                                 "ssl_ciphers", "Ciphers of TLS 1.2 and older, as OpenSSL's cipher list."))),
      only_for_tls(with_flag(
          "upstream-ssl-tls13-ciphers",
          setting<Text, &U::config, &C::tls, &T::ssl_tls13_ciphers>(
              "ssl_tls13_ciphers", "Cipher suites of TLS 1.3, with colons between; default is OpenSSL's."))),
      only_for_tls(with_flag("upstream-ssl-groups", setting<Text, &U::config, &C::tls, &T::ssl_groups>(
                                                        "ssl_groups",
                                                        "Groups of the key exchange, with colons between; "
                                                        "default is OpenSSL's, post-quantum if it can."))),
      only_for_tls(
          with_flag("upstream-ssl-signature-algorithms",
                    setting<Text, &U::config, &C::tls, &T::ssl_signature_algorithms>(
                        "ssl_signature_algorithms",
                        "Signature algorithms of either side, with colons between; default is OpenSSL's."))),
      only_for_tls(with_flag(
          "upstream-post-quantum",
          setting<OneOf<values::kPostQuantum>, &U::config, &C::tls, &T::post_quantum>(
              "post_quantum",
              "`require` takes only TLS 1.3 with a hybrid key exchange of ML-KEM (OpenSSL 3.5 or newer); "
              "`prefer` takes others, too."))),
      only_for_tls(setting<OneOf<values::kCommonNameRules>, &U::config, &C::tls, &T::certificate_common_name>(
          "certificate_common_name",
          "Whether `host` may be the CN of a certificate without alternative names: `fallback` as in libpq, "
          "or "
          "`never`.")),
      only_for_tls(setting<OneOf<values::kSslNegotiations>, &U::config, &C::sslnegotiation>(
          "sslnegotiation", "`direct` begins with TLS and saves a round trip; PostgreSQL 17 or newer.")),
      only_for_tls(setting<Boolean, &U::config, &C::sslsni>(
          "sslsni", "Sends the host name in the clear (SNI). The certificate is checked in any case.")),
      only_for_tls(setting<OneOf<values::kChannelBindings>, &U::config, &C::channel_binding>(
          "channel_binding",
          "Channel binding of logins that pgveil completes: `prefer` uses it if the server can, "
          "`require` fails if the server cannot, `disable` never uses it.")),
      setting<AuthMethodList, &U::config, &C::require_auth>(
          "require_auth",
          "What the server may ask for: `scram-sha-256`, `md5`, `password`, `none`, ...; `!md5` excludes. "
          "Default "
          "is `scram-sha-256` where pgveil has a password, else `none`; for relayed logins anything."),
      setting<Path, &U::config, &C::passfile>(
          "passfile",
          "Passwords for clients of method cert, peer or trust, in the format of .pgpass; mode 0600."),
      only_in_files(shown_in_part(setting<CommandWords, &U::config, &C::password_command>(
          "password_command",
          "A program, with its arguments, that prints the password for a client of method cert, "
          "peer or trust; no shell. `%h` `%p` `%u` `%d` are host, port, user and database."))),
      only_in_files(
          setting<Duration<milliseconds, 1, values::kDay>, &U::config, &C::password_command_timeout>(
              "password_command_timeout", "How long password_command may run.")),
      only_in_files(setting<Duration<milliseconds, 0, values::kDay>, &U::config, &C::password_command_ttl>(
          "password_command_ttl",
          "How long the password that password_command has printed is used again; `0s` runs it for "
          "every login. Each worker keeps its own.")),
      only_for_tls(setting<Path, &U::config, &C::role_certificates>(
          "role_certificates",
          "A directory with ROLE.crt and ROLE.key for each role: the client certificate for logins by method "
          "cert, peer or trust.")),
      setting<Boolean, &U::config, &C::keepalives>("keepalives", "Sends TCP keepalives to the server."),
      setting<Duration<seconds, 0, kLongestKeepalive>, &U::config, &C::keepalives_idle>(
          "keepalives_idle",
          "Silence before the first keepalive to the server; `0s` is the system's default."),
      setting<Duration<seconds, 0, kLongestKeepalive>, &U::config, &C::keepalives_interval>(
          "keepalives_interval", "Time between unanswered keepalives; `0s` is the system's default."),
      setting<Integer<int, 0, kMaxKeepalives>, &U::config, &C::keepalives_count>(
          "keepalives_count",
          "Unanswered keepalives until the server counts as lost; 0 is the system's default."),
      setting<Duration<milliseconds, 0, kLongest>, &U::config, &C::tcp_user_timeout>(
          "tcp_user_timeout", "How long sent bytes may stay unacknowledged; `0s` is the system's default."),
  };
  return kRows;
}

std::span<const Setting<LimitsConfig>> limits_settings() {
  using L = LimitsConfig;
  static constexpr std::array kRows{
      setting<Duration<milliseconds, 1, values::kDay>, &L::startup_timeout>(
          "startup_timeout", "From accepting a client to the server's ReadyForQuery."),
      setting<Duration<milliseconds, 0, kLongest>, &L::idle_timeout>(
          "idle_timeout",
          "Ends a session after this time without a byte in either direction; `0s` is never."),
      setting<Duration<milliseconds, 0, values::kDay>, &L::drain_delay>(
          "drain_delay", "How long pgveil serves clients as before after SIGTERM."),
      setting<Duration<milliseconds, 0, values::kDay>, &L::drain_timeout>(
          "drain_timeout",
          "How long sessions may finish their transactions after SIGTERM and `drain_delay`; `0s` ends all at once."),
      setting<Integer<std::size_t, 1, kMaxSessions>, &L::max_sessions>(
          "max_sessions", "Sessions at a time; a client over it gets SQLSTATE 53300."),
      setting<Integer<std::size_t, 1, kMaxSessions>, &L::max_unauthenticated_clients>(
          "max_unauthenticated_clients",
          "Clients at a time that no rule has let in yet; further ones wait in the kernel's queue."),
      setting<Size<std::size_t{16} << 10, std::size_t{4} << 20>, &L::relay_buffer>(
          "relay_buffer", "The most that is read at once in one direction of a session."),
      needs_restart(setting<Boolean, &L::core_dumps>(
          "core_dumps", "Allows core dumps and debuggers, which see keys and passwords.")),
      needs_restart(setting<Integer<unsigned, 0, kMaxWorkers>, &L::workers>(
          "workers", "Threads that serve sessions; 0 is one for each CPU that the process may use.")),
      needs_restart(setting<OneOf<values::kRelayEngines>, &L::relay>(
          "relay",
          "What moves the bytes of established sessions; `auto` takes io_uring where the kernel allows it.")),
      setting<OneOf<values::kTlsRecords>, &L::tls_records>(
          "tls_records",
          "Who reads and writes the records of TLS 1.3 after the handshake: OpenSSL, or pgveil's own code."),
  };
  return kRows;
}

std::span<const Setting<LogConfig>> log_settings() {
  using L = LogConfig;
  static constexpr std::array kRows{
      with_flag("log-level", setting<OneOf<values::kLogLevels>, &L::level>(
                                 "level", "The lowest severity of the lines that are written.")),
      needs_restart(
          with_flag("log-format", setting<OneOf<values::kLogFormats>, &L::format>(
                                      "format", "`text` is key=value lines, `json` one object a line."))),
      with_flag("log-session-start",
                setting<Boolean, &L::session_start>(
                    "session_start",
                    "Writes a line when a session is established; the line at its end is always written.")),
      setting<Duration<seconds, 0, 3'650 * values::kDay>, &L::certificate_warning>(
          "certificate_warning",
          "How long before a certificate or a CRL expires the log has a warning, once a day; `0s` is never."),
  };
  return kRows;
}

std::span<const Setting<AuditConfig>> audit_settings() {
  using A = AuditConfig;
  static constexpr std::array kRows{
      needs_restart(
          with_flag("audit-target",
                    setting<OneOf<values::kAuditTargets>, &A::target>(
                        "target", "Where the audit records are written; `none` leaves them to the log."))),
      needs_restart(with_flag(
          "audit-file",
          setting<Path, &A::file>("file", "The file of target `file`: a JSON object in each line."))),
      needs_restart(with_flag(
          "audit-socket", setting<Path, &A::socket>(
                              "socket",
                              "The Unix socket of the log daemon; default is `/dev/log` for `syslog`, and "
                              "`/run/systemd/journal/socket` for `journald`."))),
      needs_restart(
          with_flag("audit-syslog-facility",
                    setting<OneOf<values::kSyslogFacilities>, &A::syslog_facility>(
                        "syslog_facility", "The facility of the records in syslog and in the journal."))),
      with_flag(
          "audit-fail",
          setting<OneOf<values::kAuditFailures>, &A::fail>(
              "fail",
              "If records cannot be written: `closed` has logins wait and then refuses them, `open` goes on "
              "and counts the lost records.")),
      with_flag(
          "audit-stranger-rate",
          setting<RateOrNone, &A::stranger_rate>(
              "stranger_rate",
              "How many records are written of clients that are not admitted and have no verified identity; "
              "the others are counted.")),
  };
  return kRows;
}

std::span<const Setting<ReloadConfig>> reload_settings() {
  using R = ReloadConfig;
  static constexpr std::array kRows{
      with_flag("reload-watch",
                setting<Boolean, &R::watch>(
                    "watch",
                    "Reloads when the content of the configuration or of a file that it names has changed.")),
      with_flag(
          "reload-sessions",
          setting<OneOf<values::kReloadSessions>, &R::sessions>(
              "sessions",
              "Whether sessions outlast a reload that would not admit them; `revalidate` ends such sessions.")),
  };
  return kRows;
}

std::span<const Setting<AdminConfig>> admin_settings() {
  using A = AdminConfig;
  static constexpr std::array kRows{
      needs_restart(
          with_flag("admin-address",
                    setting<AdminAddress, &A::address>(
                        "address",
                        "Where health, metrics and orders are served over HTTP: a loopback address such as "
                        "`127.0.0.1:9187`, or `unix:PATH`; default is nowhere."))),
      needs_restart(with_flag(
          "admin-allow-from-network",
          setting<Boolean, &A::allow_from_network>(
              "allow_from_network",
              "Allows an address that is not loopback: everyone who reaches it may read metrics and reload."))),
      needs_restart(
          with_flag("admin-unix-socket-permissions",
                    setting<Permissions, &A::unix_socket_permissions>(
                        "unix_socket_permissions", "Who may connect to the Unix socket of `address`."))),
      needs_restart(with_flag("admin-unix-socket-group",
                              setting<Text, &A::unix_socket_group>(
                                  "unix_socket_group", "The group of the Unix socket of `address`."))),
      with_flag("admin-liveness-limit",
                setting<Duration<milliseconds, 100, kLongest>, &A::liveness_limit>(
                    "liveness_limit",
                    "The time that a worker may take for one turn of its loop; with more, `/livez` fails.")),
      with_flag("admin-allow-quit",
                setting<Boolean, &A::allow_quit>(
                    "allow_quit",
                    "Lets `POST /quitquitquit` stop pgveil like SIGTERM, for the end of a Kubernetes Job.")),
      with_flag(
          "admin-upstream-check-interval",
          setting<Duration<milliseconds, 0, values::kDay>, &A::upstream_check_interval>(
              "upstream_check_interval",
              "The time without a connection to an upstream after which pgveil connects to check it, for `/readyz?upstream=1`; "
              "0 is never.")),
      needs_restart(with_flag(
          "admin-labels",
          setting<LabelList, &A::labels>(
              "labels", "Counts sessions, logins and bytes also by `user`, `database` or `address`."))),
      needs_restart(with_flag(
          "admin-label-limit",
          setting<Integer<std::size_t, 1, kMaxLabels>, &A::label_limit>(
              "label_limit",
              "The number of combinations of these labels for each listener and worker; further ones count as "
              "`(other)`."))),
  };
  return kRows;
}

std::string flag_name(std::string_view key) {
  std::string name(key);
  for (char& letter : name)
    if (letter == '_') letter = '-';
  return name;
}

std::string variable_name(std::string_view flag) {
  std::string name = "PGVEIL_";
  for (const char letter : flag)
    name += letter == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return name;
}

}  // namespace pgveil::proxy
