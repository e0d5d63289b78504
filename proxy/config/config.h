// The settings as values: what stands in a TOML file, in flags or in PGVEIL_* variables, after parsing and
// before anything is loaded. Names are PostgreSQL's on the client's side and libpq's on the server's side.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/scram_client.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config_error.h"
#include "proxy/config/require_auth.h"
#include "proxy/config/trusted_proxies.h"
#include "tls/settings.h"

namespace pgveil::proxy {

enum class SaslMechanisms {
  strip,     // take SCRAM-SHA-256-PLUS out of the server's list: a plaintext client cannot bind a channel
  verbatim,  // pass the list on as it is
};

enum class ListenerTls {
  require,   // a StartupMessage in plaintext is refused
  optional,  // either; libpq's default sslmode=prefer then falls back to plaintext without a word
  off,
};

// Whether a CancelRequest in plaintext is taken where TLS is required: psql's Ctrl-C sends no other.
enum class PlaintextCancel { allow, deny };

// Whether a proxy that may send a PROXY header must send it.
enum class ProxyProtocol { required, optional };

// Where the server reads the client's identity, as information.
enum class ClientIdentityIn {
  application_name,  // after the name that the client gives itself
  options,           // as the custom settings pgveil.client_dn and pgveil.system_user
};

// A text file, or its content written into the configuration.
struct TextOrFile {
  std::string text;  // empty: not set
  std::string file;

  [[nodiscard]] bool is_set() const { return !text.empty() || !file.empty(); }
};

// A startup parameter that the operator gives: to every session, or to those whose client names none.
struct FixedOrDefault {
  std::string fixed;
  std::string fallback;
};

// The startup parameters that a client may give to a session for which pgveil logs in on its behalf, unless the operator
// says otherwise: those that no SQL is run by, and that do not change whose functions a session's SQL finds.
[[nodiscard]] std::vector<std::string> harmless_startup_parameters();

// `count` events in each interval. A count of 0 sets no limit.
struct Rate {
  unsigned count = 0;
  std::chrono::milliseconds interval{0};

  bool operator==(const Rate& other) const = default;
};

// The limits of one listener, besides those of the process. 0 sets no limit.
struct ListenerLimits {
  std::size_t max_sessions = 0;
  std::size_t max_sessions_per_user = 0;
  std::size_t max_sessions_per_address = 0;  // of an IPv6 address: of its /64
  // Sessions of max_sessions that are kept for some users.
  std::size_t reserved_sessions = 0;
  std::vector<std::string> reserved_sessions_for;
  std::size_t max_unauthenticated_clients = 0;
  Rate login_rate;                                  // of each address
  std::chrono::milliseconds failed_login_delay{0};  // of each address
  std::chrono::milliseconds session_lifetime{0};
};

struct ListenerConfig {
  SocketAddress address;
  std::string upstream;  // the name of an upstream
  // Plaintext beyond loopback and Unix sockets gives up secrecy between client and pgveil.
  bool allow_plaintext_from_network = false;
  TrustedProxies proxy_protocol_from;  // the proxies whose PROXY header is accepted
  ProxyProtocol proxy_protocol = ProxyProtocol::required;
  std::optional<ListenerTls> tls_setting;
  tls::ServerCertificate certificate;  // the default one; its two files are empty where there is none
  tls::ServerSettings tls;             // with all certificates together, once the configuration is read
  PlaintextCancel plaintext_cancel = PlaintextCancel::allow;
  bool connect_early = false;  // to the server, while a client still shakes hands
  TextOrFile hba;              // pg_hba.conf
  TextOrFile ident;            // pg_ident.conf
  std::string auth_file;       // PgBouncer's: the users of method scram-sha-256
  FixedOrDefault database;
  FixedOrDefault options;
  FixedOrDefault application_name;
  // What a client of method cert, peer or trust may send.
  std::vector<std::string> allowed_startup_parameters = harmless_startup_parameters();
  // The upstream shows the same certificate as this listener, so that channel binding passes through.
  bool shared_certificate = false;
  bool log_client_identity = false;
  ClientIdentityIn client_identity_in = ClientIdentityIn::application_name;
  std::string admin_database;            // that pgveil serves itself; empty: none
  std::vector<std::string> admin_users;  // database users who may use it
  SaslMechanisms sasl_mechanisms = SaslMechanisms::strip;
  bool reuse_port = false;                  // another process may listen on the address, too
  unsigned unix_socket_permissions = 0777;  // PostgreSQL's default
  std::string unix_socket_group;            // empty: the group of the process
  // Two minutes until a client that is dead counts as lost. 0: the system's.
  std::chrono::seconds tcp_keepalives_idle{60};
  std::chrono::seconds tcp_keepalives_interval{10};
  int tcp_keepalives_count = 6;
  std::chrono::milliseconds tcp_user_timeout{0};

  ListenerLimits limits;

  // What tls_setting says, or what follows from there being a certificate.
  [[nodiscard]] ListenerTls tls_policy() const;
};

// One server of an upstream's list.
struct UpstreamHost {
  std::string host;      // the name that the certificate must carry, or the directory of a Unix socket
  std::string hostaddr;  // where to connect instead of resolving `host`; empty: resolve
  std::uint16_t port = 5432;

  bool operator==(const UpstreamHost& other) const = default;
  [[nodiscard]] bool is_unix() const;  // starts with `/` or `@`, as libpq tells (pqcomm.h: is_unixsock_path)
  // `DIR/.s.PGSQL.PORT`
  [[nodiscard]] std::string unix_path() const;
};

enum class SslMode { verify_full, disable };
enum class SslNegotiation { postgres, direct };

struct UpstreamConfig {
  std::string name;
  std::vector<UpstreamHost> hosts;  // tried in this order
  std::string requirepeer;          // the user that must own the server process at a Unix socket; empty: any
  SslMode sslmode = SslMode::verify_full;
  SslNegotiation sslnegotiation = SslNegotiation::postgres;
  bool sslsni = true;
  tls::ClientSettings tls;
  // Of the logins that pgveil completes. `require_auth` also holds for those that it relays, once it is set.
  protocol::ChannelBinding channel_binding = protocol::ChannelBinding::prefer;
  std::optional<AuthMethods> require_auth;
  std::string passfile;                       // libpq's .pgpass
  std::vector<std::string> password_command;  // program and arguments
  std::chrono::milliseconds password_command_timeout{10'000};
  std::chrono::milliseconds password_command_ttl{0};     // 0: run for every login
  std::string role_certificates;                         // directory of ROLE.crt and ROLE.key
  std::chrono::milliseconds connect_timeout{10'000};     // of each address; 0: no limit of its own
  unsigned preconnect = 0;                               // connections made ahead, of all workers together
  std::chrono::milliseconds preconnect_max_age{30'000};  // below the server's authentication_timeout
  bool send_proxy_protocol = false;  // a PROXY header with the client's address, before everything else
  bool keepalives = true;
  std::chrono::seconds keepalives_idle{0};      // 0: the system's
  std::chrono::seconds keepalives_interval{0};  // 0: the system's
  int keepalives_count = 0;                     // 0: the system's
  std::chrono::milliseconds tcp_user_timeout{0};

  // Whether pgveil has passwords for it.
  [[nodiscard]] bool holds_passwords() const { return !passfile.empty() || !password_command.empty(); }
  // Where in `hosts` the one after `host` is; the first one after the last.
  [[nodiscard]] std::size_t index_after(const UpstreamHost& host) const;
  // Whether any of its hosts is reached over TLS: never a Unix socket, as in libpq.
  [[nodiscard]] bool uses_tls() const;
};

inline constexpr unsigned kMaxWorkers = 256;
inline constexpr unsigned kMaxPreconnected = 1000;

enum class RelayEngine { automatic, io_uring, epoll };
struct LimitsConfig {
  std::chrono::milliseconds startup_timeout{15'000};  // from accept to the server's ReadyForQuery
  std::chrono::milliseconds idle_timeout{0};          // no byte either way; 0: off
  std::chrono::milliseconds drain_delay{0};           // from SIGTERM to the end of idle sessions
  std::chrono::milliseconds drain_timeout{25'000};    // from then to the end of all sessions
  std::size_t max_sessions = 10'000;
  std::size_t max_unauthenticated_clients = 1'000;
  bool core_dumps = false;  // they hold keys and passwords
  std::size_t relay_buffer =
      std::size_t{256} * 1024;  // the most that is read at once in one direction of a session
  unsigned workers = 0;         // threads that serve sessions; 0: one for each CPU that is granted
  RelayEngine relay = RelayEngine::automatic;
  tls::Records tls_records = tls::Records::automatic;
};

enum class LogFormat { text, json };
enum class LogLevel { debug, info, warning, error };
struct LogConfig {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  bool session_start = true;  // a line when a session is established, beside the one at its end
  std::chrono::seconds certificate_warning = std::chrono::hours(24 * 30);  // before one expires; 0: none
};

// Where the audit records are written, besides the log.
enum class AuditTarget { none, file, journald, syslog, standard_output };
// What happens if they cannot be written.
enum class AuditFailure {
  closed,  // logins wait, and are refused in the end
  open,    // records are lost, and counted
};
// The facilities of syslog(3) that a program may use.
enum class SyslogFacility : unsigned {
  user = 1,
  daemon = 3,
  auth = 4,
  authpriv = 10,
  local0 = 16,
  local1,
  local2,
  local3,
  local4,
  local5,
  local6,
  local7,
};
struct AuditConfig {
  AuditTarget target = AuditTarget::none;
  std::string file;    // of target `file`
  std::string socket;  // of `journald` or `syslog`; empty: the usual one
  SyslogFacility syslog_facility = SyslogFacility::authpriv;
  AuditFailure fail = AuditFailure::closed;
  // Of records of clients that were not admitted and have no verified identity.
  Rate stranger_rate{.count = 10, .interval = std::chrono::seconds(1)};
};

// What a reload does with the sessions that have begun before it.
enum class ReloadSessions {
  keep,        // nothing
  revalidate,  // ends those that the new configuration would not admit
};
struct ReloadConfig {
  bool watch = true;  // reload when a file has changed
  ReloadSessions sessions = ReloadSessions::keep;
};

// Which labels beside the listener the metrics of sessions have.
struct AdminLabels {
  bool user = false;
  bool database = false;
  bool address = false;

  [[nodiscard]] bool any() const { return user || database || address; }
};

// The admin address: health, metrics and orders over HTTP.
struct AdminConfig {
  std::optional<SocketAddress> address;  // nullopt: there is none
  bool allow_from_network = false;       // an address that is not loopback
  unsigned unix_socket_permissions = 0700;
  std::string unix_socket_group;                              // empty: the group of the process
  std::chrono::milliseconds liveness_limit{10'000};           // for a turn of a worker's loop
  bool allow_quit = false;                                    // POST /quitquitquit
  std::chrono::milliseconds upstream_check_interval{10'000};  // 0: upstreams are not checked
  AdminLabels labels;
  std::size_t label_limit = 1'000;  // combinations of their values, for each listener and worker
};

struct Config {
  std::vector<ListenerConfig> listeners;
  std::map<std::string, UpstreamConfig> upstreams;
  LimitsConfig limits;
  LogConfig log;
  AuditConfig audit;
  ReloadConfig reload;
  AdminConfig admin;
};
// Overwrites what must not stay in memory once the TLS contexts are built: each sslpassword.
void wipe_secrets(Config& config);

// Remembers where each key stood, so that an error found later (a file that cannot be loaded) still has a location.
class SourceLocations {
 public:
  struct Place {
    std::string file;
    int line = 0;
  };
  void note(const std::string& key, Place place) { places_[key] = std::move(place); }
  [[nodiscard]] bool knows(std::string_view key) const { return places_.contains(key); }
  // The place of `key`, or of the nearest section above it ("upstream.primary.sslkey", "upstream.primary",
  // ...); an empty one where none is known. Listeners are "listener[0]", "listener[1]" and so on.
  [[nodiscard]] Place find(std::string_view key) const;
  // An error, or a warning, about `key`, with its place.
  [[nodiscard]] ConfigError error_at(const std::string& key, std::string message, std::string hint) const;

 private:
  std::map<std::string, Place, std::less<>> places_;
};

struct ParsedConfig {
  std::string file;  // the path of the configuration file; empty: there is none
  Config config;
  SourceLocations locations;
};

// Parses TOML. Returns all errors at once; an unknown key is one. `file` is only for messages.
[[nodiscard]] tl::expected<ParsedConfig, ConfigErrors> parse_config(std::string_view toml,
                                                                    const std::string& file);

}  // namespace pgveil::proxy
