// Settings without effect, each of them sound by itself.
#include "proxy/snapshot/effects.h"

#include <gtest/gtest.h>

#include "proxy/snapshot/snapshot.h"
#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

// The files that the rows name: $ROOT (an authority), $SERVER and $KEY (of a listener), $USERS, $PASSFILE.
class Site {
 public:
  Site() {
    const auto root = test::authority("Test Root");
    test::CertificateRequest request;
    request.common_names = {"db"};
    request.not_after = std::chrono::hours(24 * 60);
    const auto server = test::issued_by(root, request);
    files_ = {{"$ROOT", folder_.write("root.crt", root.certificate_pem())},
              {"$SERVER", folder_.write("server.crt", server.certificate_pem())},
              {"$KEY", folder_.write("server.key", server.key_pem())},
              {"$USERS", folder_.write("users.txt", "\"app\" \"secret\"\n")},
              {"$PASSFILE", folder_.write("pgpass", "*:*:*:*:secret\n")}};
  }
  [[nodiscard]] std::string expanded(std::string text) const {
    for (const auto& [name, path] : files_)
      for (std::size_t at; (at = text.find(name)) != std::string::npos;) text.replace(at, name.size(), path);
    return text;
  }

 private:
  test::TemporaryFolder folder_;
  std::vector<std::pair<std::string, std::string>> files_;
};

constexpr const char* kTls = "ssl_cert_file = \"$SERVER\"\nssl_key_file = \"$KEY\"\n";
constexpr const char* kNoTls = "host = \"127.0.0.1\"\nsslmode = \"disable\"\n";
constexpr const char* kUpstreamTls = "host = \"db01\"\nsslrootcert = \"$ROOT\"\n";

struct Row {
  const char* name;
  std::string listener;  // lines below address and upstream
  std::string upstream;
  std::string rest;      // of the file
  std::string expected;  // "KEY: MESSAGE" of what there is beside what is always said; empty: nothing
};
void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

std::string toml_of(const Row& row) {
  const std::string address =
      ("\n" + row.listener).find("\naddress = ") == std::string::npos ? "address = \"127.0.0.1:0\"\n" : "";
  return "[[listener]]\n" + address + "upstream = \"a\"\n" + row.listener + "[upstream.a]\n" + row.upstream +
         row.rest;
}

struct Outcome {
  ConfigErrors errors, warnings;
};
// Of parsing and of loading.
Outcome outcome_of(const Row& row) {
  const Site site;
  const auto parsed = parse_config(site.expanded(toml_of(row)), "pgveil.toml");
  if (!parsed) return {parsed.error(), {}};
  const auto snapshot = build_snapshot(*parsed);
  if (!snapshot) return {snapshot.error().errors(), {}};
  return {{}, (*snapshot)->warnings};
}

std::string shown(const ConfigErrors& errors) {
  std::string text;
  for (const auto& error : errors) {
    if (error.key.ends_with(".upstream") || error.key.ends_with(".tls"))
      continue;  // of SCRAM and of fallback
    text += error.key + ": " + error.message + '\n';
  }
  return text;
}

class RefusedSetting : public testing::TestWithParam<Row> {};

TEST_P(RefusedSetting, IsAnError) {
  const auto outcome = outcome_of(GetParam());
  EXPECT_EQ(shown(outcome.errors), GetParam().expected + '\n');
}

class DoubtfulSetting : public testing::TestWithParam<Row> {};

TEST_P(DoubtfulSetting, IsAWarning) {
  const auto outcome = outcome_of(GetParam());
  EXPECT_EQ(shown(outcome.errors), "");
  EXPECT_EQ(shown(outcome.warnings), GetParam().expected.empty() ? "" : GetParam().expected + '\n');
}

constexpr const char* kRelayTls = "hba = \"hostssl all all all relay\"\n";
constexpr const char* kTrust = "hba = \"host all all all trust\"\n";
constexpr const char* kScram = "hba = \"host all all all scram-sha-256\"\nauth_file = \"$USERS\"\n";
constexpr const char* kAdminDatabase = "admin_database = \"pgveil\"\nadmin_users = \"ann\"\n";
constexpr const char* kAdminAndRelay = "hba = \"host pgveil all all trust\\nhost all all all relay\"\n";
constexpr const char* kPassword = "hba = \"hostssl all all all password\"\n";

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Effects, RefusedSetting,
    testing::Values(
        Row{"ChannelBindingOfRelayedLogins", "", std::string(kUpstreamTls) + "channel_binding = \"require\"\n", "",
            "upstream.a.channel_binding: has no effect: all rules that lead to this upstream have method relay"},
        Row{"ChannelBindingWithoutAPassword", kTrust, std::string(kUpstreamTls) + "channel_binding = \"require\"\n", "",
            "upstream.a.channel_binding: no login can succeed by the rule in pgveil.toml:4, method trust: channel binding requires a password, and pgveil has none"},
        Row{"MaxSessionsAboveThoseOfTheProcess", "max_sessions = 11\n", kNoTls, "[limits]\nmax_sessions = 10\n",
            "listener[0].max_sessions: has no effect: limits.max_sessions is 10"},
        Row{"MaxSessionsPerUserAboveThoseOfTheListener", "max_sessions = 5\nmax_sessions_per_user = 6\n", kNoTls, "",
            "listener[0].max_sessions_per_user: has no effect: this listener has 5 sessions at most"},
        Row{"MaxSessionsPerAddressAboveThoseOfTheProcess", "max_sessions_per_address = 10001\n", kNoTls, "",
            "listener[0].max_sessions_per_address: has no effect: this listener has 10000 sessions at most"},
        Row{"MaxUnauthenticatedClientsAboveThoseOfTheProcess", "max_unauthenticated_clients = 1001\n", kNoTls, "",
            "listener[0].max_unauthenticated_clients: has no effect: limits.max_unauthenticated_clients is 1000"},
        Row{"LoginRateOfAUnixSocket", "address = \"unix:/run/.s.PGSQL.5432\"\nlogin_rate = \"1/s\"\n", kNoTls, "",
            "listener[0].login_rate: has no effect: the clients of a Unix socket have no address, unless a proxy tells it (proxy_protocol_from)"},
        Row{"ReservedSessionsForNobody", "reserved_sessions = 1\n", kNoTls, "",
            "listener[0].reserved_sessions: requires reserved_sessions_for"},
        Row{"UsersOfNoReservedSessions", "reserved_sessions_for = \"ann\"\n", kNoTls, "",
            "listener[0].reserved_sessions_for: has no effect: reserved_sessions is not set"},
        Row{"AllSessionsReserved", "max_sessions = 3\nreserved_sessions = 3\nreserved_sessions_for = \"ann\"\n", kNoTls, "",
            "listener[0].reserved_sessions: leaves no session for other users"},
        Row{"FailedLoginDelayOfTheStartupTimeout", "failed_login_delay = \"8s\"\n", kNoTls, "",
            "listener[0].failed_login_delay: is longer than half of limits.startup_timeout, which is the longest time that a login may wait"},
        Row{"AllowedStartupParametersOfRelayedLogins", "allowed_startup_parameters = \"options\"\n", kNoTls, "",
            "listener[0].allowed_startup_parameters: has no effect: no rule of this listener has method cert, peer or trust"},
        Row{"AllowedStartupParametersOfTheAdminDatabase", std::string(kAdminDatabase) + kAdminAndRelay + "allowed_startup_parameters = \"options\"\n", kNoTls, "",
            "listener[0].allowed_startup_parameters: has no effect: no rule for other databases than admin_database has method cert, peer or trust"},
        Row{"ChannelBindingOfTheAdminDatabase", std::string(kAdminDatabase) + kAdminAndRelay, std::string(kUpstreamTls) + "channel_binding = \"require\"\n", "",
            "upstream.a.channel_binding: has no effect: all rules that lead to this upstream have method relay"},
        Row{"SaslMechanismsOfTheAdminDatabase", std::string(kAdminDatabase) + "hba = \"host pgveil all all relay\\nhost all all all trust\"\nsasl_mechanisms = \"verbatim\"\n", kNoTls, "",
            "listener[0].sasl_mechanisms: has no effect: no rule for other databases than admin_database has method relay"},
        Row{"AdminDatabaseOfARelayedRule", std::string(kAdminDatabase) + "hba = \"host pgveil all all relay\\nhost other all all trust\"\n", kNoTls, "",
            "listener[0].admin_database: has no effect: no rule for this database has method cert, peer, scram-sha-256 or trust"},
        Row{"SaslMechanismsWithoutRelay", std::string(kTrust) + "sasl_mechanisms = \"verbatim\"\n", kNoTls, "",
            "listener[0].sasl_mechanisms: has no effect: no rule of this listener has method relay"},
        Row{"SaslMechanismsOfAServerWithoutTls", "sasl_mechanisms = \"verbatim\"\n", kNoTls, "",
            "listener[0].sasl_mechanisms: has no effect: a server without TLS offers no SCRAM-SHA-256-PLUS, and upstream \"a\" does not use TLS"},
        Row{"PlaintextFromTheNetworkOnLoopback", "allow_plaintext_from_network = true\n", kNoTls, "",
            "listener[0].allow_plaintext_from_network: has no effect: clients of the network cannot reach 127.0.0.1:0"},
        Row{"PlaintextFromTheNetworkOnAUnixSocket", "address = \"unix:/run/.s.PGSQL.5432\"\nallow_plaintext_from_network = true\n", kNoTls, "",
            "listener[0].allow_plaintext_from_network: has no effect: clients of the network cannot reach unix:/run/.s.PGSQL.5432"},
        Row{"SharedCertificateWithoutRelay", std::string(kTls) + kScram + "shared_certificate = true\n", kUpstreamTls, "",
            "listener[0].shared_certificate: has no effect: no rule of this listener has method relay"},
        Row{"IdentWithoutMap", std::string(kTrust) + "ident = \"m a b\"\n", kNoTls, "",
            "listener[0].ident: has no effect: no rule of this listener has the option map"},
        Row{"IdentOfBuiltInRules", "ident = \"m a b\"\n", kNoTls, "",
            "listener[0].ident: has no effect: no rule of this listener has the option map"},
        Row{"KeepalivesIdleWithoutKeepalives", "", std::string(kNoTls) + "keepalives = false\nkeepalives_idle = \"1min\"\n", "",
            "upstream.a.keepalives_idle: has no effect: keepalives are not sent with keepalives = false"},
        Row{"KeepalivesIntervalWithoutKeepalives", "", std::string(kNoTls) + "keepalives = false\nkeepalives_interval = \"1min\"\n", "",
            "upstream.a.keepalives_interval: has no effect: keepalives are not sent with keepalives = false"},
        Row{"KeepalivesCountWithoutKeepalives", "", std::string(kNoTls) + "keepalives = false\nkeepalives_count = 3\n", "",
            "upstream.a.keepalives_count: has no effect: keepalives are not sent with keepalives = false"},
        Row{"KeepalivesOfUnixSockets", "", "host = \"/run/postgresql\"\nkeepalives = true\n", "",
            "upstream.a.keepalives: has no effect: all hosts are Unix sockets"},
        Row{"KeepalivesIdleOfUnixSockets", "", "host = \"/run/postgresql\"\nkeepalives_idle = \"1min\"\n", "",
            "upstream.a.keepalives_idle: has no effect: all hosts are Unix sockets"},
        Row{"TcpUserTimeoutOfUnixSockets", "", "host = \"/run/postgresql\"\ntcp_user_timeout = \"1min\"\n", "",
            "upstream.a.tcp_user_timeout: has no effect: all hosts are Unix sockets"},
        Row{"HostsslAloneInPlaintext", kRelayTls, kNoTls, "",
            "listener[0].hba: no rule matches the clients of this listener, so that no client can log in"},
        Row{"HostnosslAloneWhereTlsIsRequired", std::string(kTls) + "hba = \"hostnossl all all all relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the clients of this listener, so that no client can log in"},
        Row{"RequireAuthWithoutScramForScram", kScram, std::string(kNoTls) + "require_auth = \"md5,password\"\n", "",
            "upstream.a.require_auth: no login can succeed by the rule in pgveil.toml:4, method scram-sha-256, which requires one of scram-sha-256,none"},
        Row{"RequireAuthNoneForPassword", std::string(kTls) + kPassword, std::string(kNoTls) + "require_auth = \"none\"\n", "",
            "upstream.a.require_auth: no login can succeed by the rule in pgveil.toml:6, method password, which requires one of password,md5,scram-sha-256"},
        Row{"RequireAuthGssForAVouchedClient", kTrust, std::string(kNoTls) + "passfile = \"$PASSFILE\"\nrequire_auth = \"gss\"\n", "",
            "upstream.a.require_auth: no login can succeed by the rule in pgveil.toml:4, method trust, which requires one of password,md5,scram-sha-256,none"},
        Row{"RequireAuthScramWithoutAPassword", kTrust, std::string(kNoTls) + "require_auth = \"scram-sha-256\"\n", "",
            "upstream.a.require_auth: no login can succeed by the rule in pgveil.toml:4, method trust, which requires one of none"},
        Row{"RequireAuthMd5WithChannelBinding", std::string(kTls) + kPassword, std::string(kUpstreamTls) + "channel_binding = \"require\"\nrequire_auth = \"md5\"\n", "",
            "upstream.a.require_auth: no login can succeed by the rule in pgveil.toml:6, method password, which requires one of scram-sha-256"},
        Row{"CiphersOfOlderVersionsThanAccepted", std::string(kTls) + "ssl_min_protocol_version = \"TLSv1.3\"\nssl_ciphers = \"ECDHE+AESGCM\"\n", kNoTls, "",
            "listener[0].ssl_ciphers: has no effect: it is for TLS 1.2 and older, which are not accepted"},
        Row{"CiphersOfANewerVersionThanAccepted", std::string(kTls) + "ssl_max_protocol_version = \"TLSv1.2\"\nssl_tls13_ciphers = \"TLS_AES_128_GCM_SHA256\"\n", kNoTls, "",
            "listener[0].ssl_tls13_ciphers: has no effect: it is for TLS 1.3, which is not accepted"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Effects, DoubtfulSetting,
    testing::Values(
        Row{"UpstreamOfNoListener", "", kNoTls, std::string("[upstream.b]\n") + kNoTls,
            "upstream.b: no listener uses this upstream"},
        Row{"EveryAddressIsAProxy", "proxy_protocol_from = \"10.0.0.0/8,::/0\"\n", kNoTls, "",
            "listener[0].proxy_protocol_from: ::/0 trusts every client, which can then claim any address"},
        Row{"NetworksOfClientsOfAProxyOnLoopback", "proxy_protocol_from = \"127.0.0.1\"\nhba = \"host all all 10.0.0.0/8 relay\"\n", kNoTls, "",
            ""},
        Row{"HostAloneOnAUnixSocketOfAProxy", "address = \"unix:/run/.s.PGSQL.5432\"\nproxy_protocol_from = \"unix\"\nhba = \"host all all all relay\"\n", kNoTls, "",
            ""},
        Row{"LocalAloneOverTcp", "hba = \"local all all relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the clients of this listener, so that no client can log in"},
        Row{"HostAloneOnAUnixSocket", "address = \"unix:/run/.s.PGSQL.5432\"\nhba = \"host all all all relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the clients of this listener, so that no client can log in"},
        Row{"HostgssencAlone", "hba = \"hostgssenc all all all relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the clients of this listener, so that no client can log in"},
        Row{"PreconnectBelowWorkers", "", std::string(kUpstreamTls) + "preconnect = 3\n", "[limits]\nworkers = 4\n",
            "upstream.a.preconnect: 3 is less than the number of workers, 4, so that sessions of some workers have to connect themselves"},
        Row{"HostsslBesideOthersInPlaintext", "hba = \"hostssl all all all relay\\nhost all all all relay\"\n", kNoTls, "",
            "listener[0].hba: type hostssl matches no client of this listener, which does not use TLS"},
        Row{"HostnosslBesideOthersWhereTlsIsRequired", std::string(kTls) + "hba = \"hostnossl all all all relay\\nhostssl all all all relay\"\n", kNoTls, "",
            "listener[0].hba: type hostnossl matches no client of this listener, which requires TLS"},
        Row{"UnknownUserOfRequirepeer", "", "host = \"/run/postgresql\"\nrequirepeer = \"no-such-user\"\n", "",
            "upstream.a.requirepeer: user \"no-such-user\" does not exist on this system"},
        Row{"MapOfNoRule", std::string(kTls) + "ssl_ca_file = \"$ROOT\"\nhba = \"hostssl all all all cert map=m\"\nident = \"m a b\\nn a b\"\n", kNoTls, "",
            "listener[0].ident: no rule uses map \"n\""},
        Row{"CertificatesThatNoRuleRequires", std::string(kTls) + "ssl_ca_file = \"$ROOT\"\n" + kRelayTls, kNoTls, "",
            "listener[0].ssl_ca_file: no rule requires a client certificate"},
        Row{"EveryAddressOfIpv4", std::string(kTls) + "hba = \"hostssl all all 0.0.0.0/0 relay\"\n", kNoTls, "",
            "listener[0].hba: 0.0.0.0/0 matches no client that connects by IPv6"},
        Row{"EveryAddressOfIpv4WithAMask", "hba = \"host all all 0.0.0.0 0.0.0.0 relay\"\n", kNoTls, "",
            "listener[0].hba: 0.0.0.0/0 matches no client that connects by IPv6"},
        Row{"EveryAddressOfIpv6", "address = \"localhost:0\"\nhba = \"host all all ::/0 relay\"\n", kNoTls, "",
            "listener[0].hba: ::/0 matches no client that connects by IPv4"},
        Row{"EveryAddressOfTheOtherFamily", "hba = \"host all all ::/0 relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the addresses of the clients of this listener, so that no client can log in"},
        Row{"LoopbackOfTheOtherFamily", "hba = \"host all all ::1/128 relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the addresses of the clients of this listener, so that no client can log in"},
        Row{"LoopbackOfIpv4OnIpv6", "address = \"[::1]:0\"\nhba = \"host all all 127.0.0.1/32 relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the addresses of the clients of this listener, so that no client can log in"},
        Row{"NetworkOnLoopback", "hba = \"host all all 10.0.0.0/8 relay\\nhost all all all reject\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the addresses of the clients of this listener, so that no client can log in"},
        Row{"LoopbackOnANetwork", "address = \"10.0.0.1:0\"\nallow_plaintext_from_network = true\nhba = \"host all all 127.0.0.1/32 relay\"\n", kNoTls, "",
            "listener[0].hba: no rule matches the addresses of the clients of this listener, so that no client can log in"},
        Row{"ConnectTimeoutThatIsTooLong", "", std::string(kNoTls) + "connect_timeout = \"20s\"\n", "",
            "upstream.a.connect_timeout: is not shorter than startup_timeout, \"15s\", which ends the login first"},
        Row{"SignatureAlgorithmsOfSha1Alone", std::string(kTls) + "ssl_signature_algorithms = \"RSA+SHA1:ECDSA+SHA1\"\n", kNoTls, "",
            "listener[0].ssl_signature_algorithms: allows only signatures of SHA-1, which TLS 1.3 does not have and OpenSSL does not use in older versions by default, so that handshakes fail"},
        Row{"RejectOfIpv4BeforeOthers", "hba = \"host all bob 0.0.0.0/0 reject\\nhost all all all relay\"\n", kNoTls, "",
            "listener[0].hba: 0.0.0.0/0 matches no client that connects by IPv6"},
        Row{"PasswordCommandThatMayTakeTooLong", kTrust, std::string(kNoTls) + "password_command = [\"/bin/cat\"]\npassword_command_timeout = \"15s\"\n", "",
            "upstream.a.password_command_timeout: is not shorter than startup_timeout, \"15s\", which ends the login first"},
        Row{"WeakCiphers", std::string(kTls) + "ssl_ciphers = \"ECDHE+AESGCM:AES128-SHA\"\n", kNoTls, "",
            "listener[0].ssl_ciphers: allows \"AES128-SHA\", without forward secrecy or authenticated encryption"},

        // What has its effect, or does no harm.
        Row{"LoopbackAndOthersOnLoopback", "hba = \"host all all 10.0.0.0/8 relay\\nhost all all 127.0.0.1/32 relay\"\n", kNoTls, "", ""},
        Row{"LoopbackOfIpv6OnLocalhost", "address = \"localhost:0\"\nhba = \"host all all ::1/128 relay\"\n", kNoTls, "", ""},
        Row{"RejectOfOtherAddressesAlone", "hba = \"host all all ::1/128 reject\"\n", kNoTls, "", ""},
        Row{"SaslMechanismsOfAServerWithTls", "sasl_mechanisms = \"verbatim\"\n", kUpstreamTls, "", ""},
        Row{"ConnectTimeoutBelowStartupTimeout", "", std::string(kNoTls) + "connect_timeout = \"14s\"\n", "", ""},
        Row{"ConnectTimeoutOfNoLimit", "", std::string(kNoTls) + "connect_timeout = \"0s\"\n", "", ""},
        Row{"SignatureAlgorithmsWithSha1", std::string(kTls) + "ssl_signature_algorithms = \"RSA+SHA1:RSA+SHA256:ECDSA+SHA256\"\n", kNoTls, "", ""},
        Row{"ChannelBindingOfTerminatedLogins", kScram, std::string(kUpstreamTls) + "channel_binding = \"require\"\n", "", ""},
        Row{"ChannelBindingOfAVouchedClientWithAPassword", kTrust, std::string(kUpstreamTls) + "passfile = \"$PASSFILE\"\nchannel_binding = \"require\"\n", "", ""},
        Row{"AllowedStartupParametersOfVouchedClients", std::string(kTrust) + "allowed_startup_parameters = \"options\"\n", kNoTls, "", ""},
        Row{"PreconnectOfAsManyAsWorkers", "", std::string(kUpstreamTls) + "preconnect = 4\n", "[limits]\nworkers = 4\n", ""},
        Row{"RejectOfIpv4AsTheLast", "hba = \"host all all 127.0.0.0/8 relay\\nhost all all 0.0.0.0/0 reject\"\n", kNoTls, "", ""},
        Row{"EveryAddressOfBothFamilies", "hba = \"host all all 0.0.0.0/0 relay\\nhost all all ::/0 relay\"\n", kNoTls, "", ""},
        Row{"RequireAuthThatSucceeds", kScram, std::string(kNoTls) + "require_auth = \"scram-sha-256,md5\"\n", "", ""},
        Row{"RequireAuthOfRelayedLogins", "", std::string(kNoTls) + "require_auth = \"md5\"\n", "", ""},
        Row{"RequireAuthNoneOfAVouchedClient", kTrust, std::string(kNoTls) + "require_auth = \"none\"\n", "", ""},
        Row{"RequireAuthBesideTheAdminDatabase", std::string(kAdminDatabase) + kAdminAndRelay, std::string(kNoTls) + "require_auth = \"scram-sha-256\"\n", "", ""},
        Row{"AdminDatabaseOfARuleForAll", std::string(kAdminDatabase) + kTrust, kNoTls, "", ""},
        Row{"UserOfRequirepeer", "", "host = \"/run/postgresql\"\nrequirepeer = \"root\"\n", "", ""},
        Row{"CertificatesForTheIdentityAlone", std::string(kTls) + "ssl_ca_file = \"$ROOT\"\nlog_client_identity = true\n" + kRelayTls, kNoTls, "", ""},
        Row{"KeepalivesOfAListWithTcp", "", "host = \"/run/postgresql,127.0.0.1\"\nsslmode = \"disable\"\nkeepalives_idle = \"1min\"\n", "", ""},
        Row{"RejectOfPlaintextWhereTlsIsRequired", std::string(kTls) + "hba = \"hostnossl all all all reject\\nhostssl all all all relay\"\n", kNoTls, "", ""}),
    [](const auto& row) { return row.param.name; });
// clang-format on

}  // namespace
}  // namespace pgveil::proxy
