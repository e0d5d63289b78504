#include "proxy/config/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "proxy/config/values.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

ConfigErrors errors_of(const std::string& toml) {
  const auto parsed = parse_config(toml, "pgveil.toml");
  return parsed ? ConfigErrors{} : parsed.error();
}
std::string texts_of(const ConfigErrors& errors) {
  std::string text;
  for (const auto& error : errors) text += error.text() + '\n';
  return text;
}
std::string text_of(const std::string& toml) {
  return texts_of(errors_of(toml));
}

Config config_of(const std::string& toml) {
  auto parsed = parse_config(toml, "pgveil.toml");
  if (parsed) return std::move(parsed->config);
  ADD_FAILURE() << texts_of(parsed.error()) << toml;
  return Config{.listeners = std::vector<ListenerConfig>(1),
                .upstreams = {{"", {}}},
                .limits = {},
                .log = {},
                .audit = {},
                .reload = {},
                .admin = {}};
}

std::string name_of_sample(const testing::TestParamInfo<SettingSample>& row) {
  return row.param.section + '_' + row.param.key;
}

// --- every setting ---

TEST(Settings, EachHasASample) {
  for (const auto& names : all_settings()) {
    const auto is_of_it = [&names](const SettingSample& sample) {
      return sample.section == names.section && sample.key == names.key;
    };
    EXPECT_EQ(std::count_if(setting_samples().begin(), setting_samples().end(), is_of_it), 1)
        << names.section << '.' << names.key;
  }
}

TEST(Settings, HaveFlagsOfTheirOwn) {
  std::set<std::string> seen;
  for (const auto& names : all_settings()) {
    if (names.flag.empty()) continue;
    EXPECT_TRUE(seen.insert(names.flag).second) << names.flag;
  }
}

// A default that its own reader refuses could not be written into a file.
TEST(Settings, TakeTheirDefaultsAsValues) {
  for_each_setting([]<class Section>(const std::string& section, const Setting<Section>& setting) {
    const std::string text = setting.default_text();
    if (text.empty()) return;
    Section values{};
    EXPECT_FALSE(setting.set({values::RawValue::Kind::untyped, text}, values).has_value())
        << section << '.' << setting.key << " = " << text;
    EXPECT_EQ(setting.show(values), text);
  });
}

class EverySetting : public testing::TestWithParam<SettingSample> {};

TEST_P(EverySetting, ArrivesFromTheFile) {
  const auto toml = toml_with(GetParam(), GetParam().toml).text();
  EXPECT_TRUE(GetParam().has_arrived(config_of(toml))) << toml;
}

TEST_P(EverySetting, IsRefusedWithLineKeyAndHintIfItsValueIsWrong) {
  const auto& sample = GetParam();
  const bool is_number =
      sample.toml.find_first_not_of("0123456789") == std::string::npos && !sample.wrong.empty();
  const std::string wrong = is_number ? sample.wrong : '"' + sample.wrong + '"';
  const auto toml = toml_with(sample, wrong).text();
  const auto lines = lines_of(toml);
  const auto line = std::find(lines.begin(), lines.end(), sample.key + " = " + wrong) - lines.begin() + 1;

  const auto errors = errors_of(toml);
  const auto error = std::find_if(errors.begin(), errors.end(), [&](const ConfigError& candidate) {
    return candidate.key.ends_with('.' + sample.key);
  });
  ASSERT_NE(error, errors.end()) << toml << texts_of(errors);
  EXPECT_EQ(error->file, "pgveil.toml");
  EXPECT_EQ(error->line, line) << toml << error->text();
  EXPECT_NE(error->message, "");
  EXPECT_NE(error->hint, "");
}

TEST_P(EverySetting, IsRefusedIfItIsATable) {
  EXPECT_FALSE(errors_of(toml_with(GetParam(), "{ a = 1 }").text()).empty());
}

INSTANTIATE_TEST_SUITE_P(Config, EverySetting, testing::ValuesIn(setting_samples()), name_of_sample);

// --- the two examples of the documentation ---

TEST(Config, NeedsFourLinesForAnEgress) {
  const auto config = config_of(R"(
[[listener]]
address = "127.0.0.1:5432"
upstream = "primary"
[upstream.primary]
host = "db01.internal.example.com"
sslrootcert = "/etc/pgveil/root.crt"
)");
  ASSERT_EQ(config.listeners.size(), 1U);
  EXPECT_EQ(config.listeners[0].address.text(), "127.0.0.1:5432");
  const auto& upstream = config.upstreams.at("primary");
  EXPECT_EQ(upstream.name, "primary");
  ASSERT_EQ(upstream.hosts.size(), 1U);
  EXPECT_EQ(upstream.hosts[0].host, "db01.internal.example.com");
  EXPECT_EQ(upstream.hosts[0].port, 5432);
  EXPECT_EQ(upstream.sslmode, SslMode::verify_full);
  EXPECT_TRUE(upstream.uses_tls());
}

TEST(Config, NeedsNoTrustForAUnixSocket) {
  const auto config = config_of(TomlLines()
                                    .set("upstream", R"(host = "/var/run/postgresql")")
                                    .remove("upstream", "sslrootcert")
                                    .text());
  EXPECT_TRUE(only_upstream(config).hosts[0].is_unix());
  EXPECT_EQ(only_upstream(config).hosts[0].unix_path(), "/var/run/postgresql/.s.PGSQL.5432");
  EXPECT_FALSE(only_upstream(config).uses_tls());
}

// --- lists of hosts, as libpq reads them ---

TEST(Hosts, TakeOnePortForAll) {
  const auto config = config_of(
      TomlLines().set("upstream", R"(host = "db01,db02")").set("upstream", "port = \"6543\"").text());
  ASSERT_EQ(only_upstream(config).hosts.size(), 2U);
  EXPECT_EQ(only_upstream(config).hosts[1].host, "db02");
  EXPECT_EQ(only_upstream(config).hosts[1].port, 6543);
}

TEST(Hosts, TakeOnePortAndOneAddressEach) {
  const auto config = config_of(TomlLines()
                                    .set("upstream", R"(host = "db01,db02")")
                                    .set("upstream", R"(hostaddr = ",::1")")
                                    .set("upstream", R"(port = "1,2")")
                                    .text());
  const auto& hosts = only_upstream(config).hosts;
  ASSERT_EQ(hosts.size(), 2U);
  EXPECT_EQ(hosts[0].hostaddr, "");
  EXPECT_EQ(hosts[0].port, 1);
  EXPECT_EQ(hosts[1].hostaddr, "::1");
  EXPECT_EQ(hosts[1].port, 2);
}

TEST(Hosts, MayBeAnAddressAloneWithoutTls) {
  const auto config = config_of(TomlLines()
                                    .remove("upstream", "host")
                                    .remove("upstream", "sslrootcert")
                                    .set("upstream", R"(hostaddr = "127.0.0.1")")
                                    .set("upstream", R"(sslmode = "disable")")
                                    .text());
  EXPECT_EQ(only_upstream(config).hosts[0].hostaddr, "127.0.0.1");
}

// --- what is refused ---

struct Refused {
  std::string name;
  std::string section;
  std::string line;  // replaces its key; "-key" removes it
  std::string key;
  std::string message;
  std::string hint;
};
void PrintTo(const Refused& row, std::ostream* out) {
  *out << row.name;
}
class RefusedLine : public testing::TestWithParam<Refused> {};

TEST_P(RefusedLine, IsReportedWithAHint) {
  TomlLines toml;
  for (const auto& line : lines_of(GetParam().line)) {
    if (line.front() == '-')
      toml.remove(GetParam().section, line.substr(1));
    else
      toml.set(GetParam().section, line);
  }
  const auto errors = errors_of(toml.text());
  ASSERT_EQ(errors.size(), 1U) << texts_of(errors);
  EXPECT_EQ(errors[0].key, GetParam().key);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().message, errors[0].message);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().hint, errors[0].hint);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Config, RefusedLine,
    testing::Values(
        Refused{"PlaintextFromAnyNetwork", "listener", R"(address = "0.0.0.0:5432")", "listener[0].address", "can be read and altered by everyone on the network path", "allow_plaintext_from_network = true"},
        Refused{"PlaintextFromAnIpv6Network", "listener", R"(address = "[::]:5432")", "listener[0].address", "can be read and altered by everyone on the network path", "allow_plaintext_from_network = true"},
        Refused{"ListenerWithoutAddress", "listener", "-address", "listener[0].address", "is missing", "127.0.0.1:5432"},
        Refused{"ListenerWithoutUpstream", "listener", "-upstream", "listener[0].upstream", "is missing", "[upstream.NAME]"},
        Refused{"ListenerWithoutPort", "listener", R"(address = "127.0.0.1")", "listener[0].address", "has no port", "127.0.0.1:5432"},
        Refused{"ListenerAtAName", "listener", R"(address = "db01:5432")", "listener[0].address", "\"db01\" is not a numeric address", "0.0.0.0"},
        Refused{"ListenerAtAHighPort", "listener", R"(address = "127.0.0.1:65536")", "listener[0].address", "invalid port \"65536\"", "65535"},
        Refused{"Ipv6ListenerWithoutBrackets", "listener", R"(address = "::1:5432")", "listener[0].address", "IPv6 address \"::1:5432\" is not in brackets", "[::1]:5432"},
        Refused{"UnixListenerWithoutPrefix", "listener", R"(address = "/run/.s.PGSQL.5432")", "listener[0].address", "invalid address", "unix:/run/.s.PGSQL.5432"},
        Refused{"UnixListenerWithoutPostgresqlsName", "listener", R"(address = "unix:/run/pgveil.sock")", "listener[0].address", "PostgreSQL clients do not look for a Unix socket", ".s.PGSQL.PORT"},
        Refused{"UnixListenerWithALongPath", "listener", "address = \"unix:/" + std::string(93, 'd') + "/.s.PGSQL.5432\"", "listener[0].address", "too long (108 bytes, maximum 107 bytes)", "shorter"},
        Refused{"ListenerAtAllAddresses", "listener", R"(address = "*:5432")", "listener[0].address", "\"*\" is not a numeric address", "and \"[::]\" for all IPv6 addresses"},
        Refused{"ListenerWithoutHost", "listener", R"(address = ":5432")", "listener[0].address", "address \":5432\" has no host", "\"0.0.0.0:5432\" for all"},
        Refused{"ListenerAtAPortAlone", "listener", R"(address = "5432")", "listener[0].address", "address \"5432\" has no host", "\"127.0.0.1:5432\""},
        Refused{"ListenerAtANamedPort", "listener", R"(address = "localhost:postgresql")", "listener[0].address", "invalid port \"postgresql\"", "65535"},
        Refused{"LinkLocalListenerWithoutInterface", "listener", R"(address = "[fe80::1]:5432")", "listener[0].address", "requires a network interface", "\"fe80::1%eth0\""},
        Refused{"LinkLocalListenerWithAnEmptyZone", "listener", R"(address = "[fe80::1%]:5432")", "listener[0].address", "invalid network interface", "eth0"},
        Refused{"LinkLocalListenerWithALongZone", "listener", R"(address = "[fe80::1%abcdefghijklmnop]:5432")", "listener[0].address", "invalid network interface", "eth0"},
        Refused{"PlaintextFromALinkLocalNetwork", "listener", R"(address = "[fe80::1%eth0]:5432")", "listener[0].address", "can be read and altered by everyone on the network path", "allow_plaintext_from_network = true"},
        Refused{"LoopbackListenerWithAZone", "listener", R"(address = "[::1%lo]:5432")", "listener[0].address", "is not link-local", "\"::1\""},
        Refused{"AbstractListenerWithoutName", "listener", R"(address = "unix:@")", "listener[0].address", "PostgreSQL clients do not look for a Unix socket", "unix:@NAME"},
        Refused{"AbstractListenerWithoutPort", "listener", R"(address = "unix:@a/.s.PGSQL.x")", "listener[0].address", "PostgreSQL clients do not look for a Unix socket", "unix:@NAME"},
        Refused{"AbstractListenerWithALongName", "listener", "address = \"unix:@" + std::string(93, 'd') + '"', "listener[0].address", "too long (108 bytes, maximum 107 bytes)", "shorter"},
        Refused{"ModeOfAnAbstractSocket", "listener", "address = \"unix:@a\"\nunix_socket_permissions = \"0700\"", "listener[0].unix_socket_permissions", "has no permissions", "use a path"},
        Refused{"GroupOfAnAbstractSocket", "listener", "address = \"unix:@a\"\nunix_socket_group = \"app\"", "listener[0].unix_socket_group", "has no permissions", "use a path"},
        Refused{"KeepalivesOfAUnixSocket", "listener", "address = \"unix:/run/.s.PGSQL.1\"\ntcp_keepalives_idle = \"1min\"", "listener[0].tcp_keepalives_idle", "a Unix socket does not use TCP", "Remove"},
        Refused{"UserTimeoutOfAnAbstractSocket", "listener", "address = \"unix:@a\"\ntcp_user_timeout = \"1min\"", "listener[0].tcp_user_timeout", "a Unix socket does not use TCP", "Remove"},
        Refused{"OptionalHeaderFromNobody", "listener", R"(proxy_protocol = "optional")", "listener[0].proxy_protocol", "proxy_protocol_from is not set", "Remove"},
        Refused{"ProxiesByName", "listener", R"(proxy_protocol_from = ["db01"])", "listener[0].proxy_protocol_from", "invalid network \"db01\"", "10.0.0.0/8"},
        Refused{"NoProxies", "listener", R"(proxy_protocol_from = [])", "listener[0].proxy_protocol_from", "must not be empty", "10.0.0.0/8"},
        Refused{"UnixProxiesOfATcpListener", "listener", R"(proxy_protocol_from = ["unix"])", "listener[0].proxy_protocol_from", "127.0.0.1:5432 is not a Unix socket", "networks"},
        Refused{"NetworkOfProxiesOfAUnixSocket", "listener", "address = \"unix:/run/.s.PGSQL.1\"\nproxy_protocol_from = [\"unix\", \"127.0.0.1\"]", "listener[0].proxy_protocol_from", "no IP address", "[\"unix\"]"},
        Refused{"HeaderOnAConnectionMadeAhead", "upstream", "send_proxy_protocol = true\npreconnect = 1", "upstream.primary.preconnect", "cannot be combined with send_proxy_protocol", "before its client is known"},
        Refused{"ModeOfATcpListener", "listener", R"(unix_socket_permissions = "0700")", "listener[0].unix_socket_permissions", "127.0.0.1:5432 is not a Unix socket", "Unix socket"},
        Refused{"ModeAsANumber", "listener", "address = \"unix:/run/.s.PGSQL.1\"\nunix_socket_permissions = 770", "listener[0].unix_socket_permissions", "requires a file mode", "\"0770\""},
        Refused{"ModeInDecimal", "listener", "address = \"unix:/run/.s.PGSQL.1\"\nunix_socket_permissions = \"rwx\"", "listener[0].unix_socket_permissions", "invalid file mode \"rwx\"", "\"0770\""},
        Refused{"UnknownUpstream", "listener", R"(upstream = "primray")", "listener[0].upstream", "upstream \"primray\" does not exist", "Did you mean \"primary\"?"},
        Refused{"UnknownKeyOfAListener", "listener", R"(adress = "127.0.0.1:1")", "listener[0].adress", "unknown key", "\"address\""},

        Refused{"UpstreamWithoutHost", "upstream", "-host", "upstream.primary.host", "is missing", "db01.internal.example.com"},
        Refused{"HostWithTrailingDot", "upstream", R"(host = "db01.example.com.")", "upstream.primary.host", "dot", "without that dot"},
        Refused{"HostWithLeadingDot", "upstream", R"(host = ".example.com")", "upstream.primary.host", "dot", "without that dot"},
        Refused{"HostWithNul", "upstream", R"(host = "db01\u0000.example.com")", "upstream.primary.host", "NUL", "Remove"},
        Refused{"HostWithNewline", "upstream", R"(host = "db01\n")", "upstream.primary.host", "\"db01\\x0a\"", "Remove"},
        Refused{"EmptyHost", "upstream", R"(host = "")", "upstream.primary.host", "must not be empty", "value"},
        Refused{"EmptyHostOfAList", "upstream", R"(host = "db01,,db02")", "upstream.primary.host", "empty element", "comma"},
        Refused{"HostWithPort", "upstream", R"(host = "db01:5432")", "upstream.primary.host", "invalid host name \"db01:5432\"", "the setting port"},
        Refused{"HostWithBrackets", "upstream", R"(host = "[::1]")", "upstream.primary.host", "brackets", "without"},
        Refused{"HostWithAZone", "upstream", R"(host = "fe80::1%eth0")", "upstream.primary.host", "which no certificate contains", "hostaddr"},
        Refused{"LinkLocalAddressWithoutInterface", "upstream", R"(hostaddr = "fe80::1")", "upstream.primary.hostaddr", "requires a network interface", "eth0"},
        Refused{"AddressWithAZoneThatItCannotHave", "upstream", R"(hostaddr = "2001:db8::1%eth0")", "upstream.primary.hostaddr", "is not link-local", "\"2001:db8::1\""},
        Refused{"PlaintextToALinkLocalAddress", "upstream", "-sslrootcert\nsslmode = \"disable\"\nhost = \"db01\"\nhostaddr = \"fe80::1%lo\"", "upstream.primary.sslmode", "\"disable\" is not allowed for \"db01\"", "verify-full"},
        Refused{"HostAsUri", "upstream", R"(host = "postgresql://db01")", "upstream.primary.host", "URI", "host name only"},
        Refused{"HostWithWildcard", "upstream", R"(host = "*.example.com")", "upstream.primary.host", "invalid host name", "name"},
        Refused{"HostBeyondAscii", "upstream", R"(host = "dätenbank")", "upstream.primary.host", "ASCII", "xn--"},
        Refused{"UnixHostWithALongPath", "upstream", "-sslrootcert\nhost = \"/" + std::string(93, 'd') + '"', "upstream.primary.host", "too long (108 bytes, maximum 107 bytes)", "shorter"},
        Refused{"AddressOfAUnixHost", "upstream", "host = \"/run,db01\"\nhostaddr = \"192.0.2.1,192.0.2.2\"", "upstream.primary.hostaddr", "cannot have a numeric address", "Remove"},
        Refused{"AddressesThatAreTooFew", "upstream", "host = \"a,b\"\nhostaddr = \"192.0.2.1\"", "upstream.primary.hostaddr", "could not match 2 host names to 1 hostaddr values", "each host"},
        Refused{"PortsThatAreTooMany", "upstream", "host = \"a,b\"\nport = \"1,2,3\"", "upstream.primary.port", "could not match 3 port numbers to 2 hosts", "each"},
        Refused{"PortZero", "upstream", "port = 0", "upstream.primary.port", "invalid port \"0\"", "65535"},
        Refused{"VerifyFullWithoutName", "upstream", "-host\nhostaddr = \"192.0.2.1\"", "upstream.primary.host", "host name must be specified for a verified SSL connection", "192.0.2.1"},
        Refused{"NoTrust", "upstream", "-sslrootcert", "upstream.primary.sslrootcert", "is missing", "\"system\""},
        Refused{"EncryptionWithoutIdentity", "upstream", R"(sslmode = "verify-ca")", "upstream.primary.sslmode", "does not verify the identity of the server", "verify-full"},
        Refused{"PlaintextToTheNetwork", "upstream", "-sslrootcert\nsslmode = \"disable\"", "upstream.primary.sslmode", "\"disable\" is not allowed for \"db01.example.com\"", "verify-full"},
        Refused{"PlaintextToOneOfTheNetwork", "upstream", "-sslrootcert\nsslmode = \"disable\"\nhost = \"/run,localhost,192.0.2.1\"", "upstream.primary.sslmode", "\"disable\" is not allowed for \"192.0.2.1\"", "verify-full"},
        Refused{"PlaintextToALoopbackNameElsewhere", "upstream", "-sslrootcert\nsslmode = \"disable\"\nhost = \"localhost\"\nhostaddr = \"192.0.2.1\"", "upstream.primary.sslmode", "\"disable\" is not allowed for \"localhost\"", "verify-full"},
        Refused{"TlsSettingWithoutTls", "upstream", "sslmode = \"disable\"\nhost = \"localhost\"", "upstream.primary.sslrootcert", "has no effect: TLS is not used with sslmode", "Remove"},
        Refused{"TlsSettingOfAUnixSocket", "upstream", "host = \"/run\"", "upstream.primary.sslrootcert", "has no effect: a Unix socket never uses TLS", "Remove"},
        Refused{"VerifyFullOfAUnixSocket", "upstream", "-sslrootcert\nhost = \"/run\"\nsslmode = \"verify-full\"", "upstream.primary.sslmode", "has no effect: a Unix socket never uses TLS", "Remove"},
        Refused{"CertificateWithoutKey", "upstream", R"(sslcert = "/c.crt")", "upstream.primary.sslcert", "requires sslkey", "sslkey"},
        Refused{"KeyWithoutCertificate", "upstream", R"(sslkey = "/c.key")", "upstream.primary.sslkey", "requires sslcert", "sslcert"},
        Refused{"PassphraseWithoutKey", "upstream", R"(sslpassword = "x")", "upstream.primary.sslpassword", "requires sslkey", "sslkey"},
        Refused{"VersionsTheWrongWayRound", "upstream", "ssl_min_protocol_version = \"TLSv1.3\"\nssl_max_protocol_version = \"TLSv1.2\"", "upstream.primary.ssl_max_protocol_version", "TLSv1.2 is older than ssl_min_protocol_version, TLSv1.3", "ssl_min_protocol_version"},
        Refused{"ServerRoles", "upstream", R"(target_session_attrs = "primary")", "upstream.primary.target_session_attrs", "not supported", "any"},
        Refused{"UnknownKeyOfAnUpstream", "upstream", R"(sslrotcert = "/r")", "upstream.primary.sslrotcert", "unknown key", "\"sslrootcert\""},

        Refused{"DurationWithoutUnit", "limits", "idle_timeout = 10", "limits.idle_timeout", "duration \"10\" has no unit", "\"10s\""},
        Refused{"DurationWithoutUnitInQuotes", "limits", R"(idle_timeout = "10")", "limits.idle_timeout", "duration \"10\" has no unit", "\"10s\""},
        Refused{"DurationInPostgresqlsMistake", "limits", R"(idle_timeout = "10m")", "limits.idle_timeout", "invalid duration \"10m\"", "min"},
        Refused{"DurationThatIsTooLong", "limits", R"(idle_timeout = "9223372036854775807d")", "limits.idle_timeout", "out of range", "\"24d\""},
        Refused{"DurationThatIsTooFine", "upstream", R"(keepalives_idle = "1500ms")", "upstream.primary.keepalives_idle", "not a whole number of seconds", "whole seconds"},
        Refused{"SizeWithoutUnit", "limits", "relay_buffer = 65536", "limits.relay_buffer", "size \"65536\" has no unit", "\"65536B\""},
        Refused{"SizeOfThousands", "limits", R"(relay_buffer = "64KB")", "limits.relay_buffer", "invalid size \"64KB\"", "KiB"},
        Refused{"SizeThatIsTooSmall", "limits", R"(relay_buffer = "16383B")", "limits.relay_buffer", "out of range", "\"16KiB\" to \"4MiB\""},
        Refused{"NumberInQuotes", "limits", R"(max_sessions = "10")", "limits.max_sessions", "requires an integer", "without quotes"},
        Refused{"BooleanInQuotes", "upstream", R"(sslsni = "true")", "upstream.primary.sslsni", "requires a Boolean value", "without quotes"},
        Refused{"BooleanAsLibpqHasIt", "upstream", "sslsni = 1", "upstream.primary.sslsni", "requires a Boolean value", "true or false"},
        Refused{"UnknownKeyOfTheLimits", "limits", "max_session = 1", "limits.max_session", "unknown key", "\"max_sessions\""},
        Refused{"AuditFileWithoutFile", "audit", R"(target = "file")", "audit.file", "is missing", "Set file = \"/var/log/pgveil/audit.json\"."},
        Refused{"AuditFileWithoutTarget", "audit", R"(file = "/a.json")", "audit.file", "has no effect: target is not \"file\"", "Set target = \"file\", or remove it."},
        Refused{"AuditFileOfTheJournal", "audit", "target = \"journald\"\nfile = \"/a.json\"", "audit.file", "has no effect", "target = \"file\""},
        Refused{"AuditSocketOfAFile", "audit", "target = \"file\"\nfile = \"/a.json\"\nsocket = \"/dev/log\"", "audit.socket", "has no effect: target is neither \"syslog\" nor \"journald\"", "Remove"},
        Refused{"AuditFacilityOfStandardOutput", "audit", "target = \"stdout\"\nsyslog_facility = \"auth\"", "audit.syslog_facility", "has no effect", "Remove"},
        Refused{"AuditFailureWithoutTarget", "audit", R"(fail = "open")", "audit.fail", "has no effect: there is no target", "Remove"},
        Refused{"AuditTargetThatIsUnknown", "audit", R"(target = "kafka")", "audit.target", "invalid value \"kafka\"", "\"journald\""},
        Refused{"AuditRateWithoutUnit", "audit", R"(stranger_rate = "10")", "audit.stranger_rate", "invalid rate \"10\"", "\"20/min\""},
        Refused{"UnknownKeyFarFromAll", "log", "colour = true", "log.colour", "unknown key", "level, format, session_start and certificate_warning"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(Config, HasNoLimitOfAuditRecordsWithARateOfZero) {
  for (const char* zero : {"0", "\"0\""}) {
    const Config config = config_of(TomlLines().set("audit", std::string("stranger_rate = ") + zero).text());
    EXPECT_EQ(config.audit.stranger_rate.count, 0U);
  }
}

TEST(Config, NamesASettingOfAFewWordsOnceInAnError) {
  const auto message_of = [](TomlLines toml) { return errors_of(toml.text()).at(0).message; };
  EXPECT_TRUE(message_of(TomlLines().set("upstream", "sslmode = \"require\"")).starts_with("\"require\" is"));
  EXPECT_TRUE(message_of(TomlLines().set("upstream", "target_session_attrs = \"primary\""))
                  .starts_with("\"primary\" is"));
  EXPECT_TRUE(
      message_of(TomlLines().remove("upstream", "sslrootcert").set("upstream", "sslmode = \"disable\""))
          .starts_with("\"disable\" is"));
}

struct RefusedFile {
  std::string name;
  std::string toml;
  std::string text;
};
void PrintTo(const RefusedFile& row, std::ostream* out) {
  *out << row.name;
}
class RefusedDocument : public testing::TestWithParam<RefusedFile> {};

TEST_P(RefusedDocument, IsReportedWithAHint) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().text, text_of(GetParam().toml));
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Config, RefusedDocument,
    testing::Values(
        RefusedFile{"Empty", "", "pgveil.toml: listener: is missing. Add [[listener]]"},
        RefusedFile{"NoUpstream", "[[listener]]\n", "pgveil.toml: upstream: is missing. Add [upstream.NAME]"},
        RefusedFile{"ListenerOnce", "\n[listener]\n", "pgveil.toml:2: listener: must be an array of tables. Write [[listener]]"},
        RefusedFile{"UpstreamWithoutName", "[upstream]\nhost = \"a\"\n", "pgveil.toml:2: upstream.host: is in a section without a name. Write [upstream.NAME]"},
        RefusedFile{"UpstreamWithADottedName", "[upstream.\"db.1\"]\n", "pgveil.toml:1: upstream: invalid upstream name \"db.1\". Use letters, digits"},
        RefusedFile{"UnknownSection", "\n\n[limit]\n", "pgveil.toml:3: limit: unknown key. Did you mean \"limits\"?"},
        RefusedFile{"SectionAsAValue", "log = 1\n", "pgveil.toml:1: log: must be a table. Write [log], once."},
        RefusedFile{"UpstreamAsAnArray", "[[upstream.u]]\nhost = \"a\"\n", "pgveil.toml:1: upstream.u: [[upstream.u]] must be written with single brackets. Write [upstream.u], once"},
        RefusedFile{"UpstreamsAsAnArray", "[[upstream]]\nhost = \"a\"\n", "pgveil.toml:1: upstream: [[upstream]] must be written as [upstream.NAME]."},
        RefusedFile{"UpstreamWithADotInItsName", "[upstream.db.one]\nhost = \"a\"\n", "upstream.db.one: an upstream name cannot contain a dot. Write [upstream.db-one]"},
        RefusedFile{"NotUtf8", "# caf\xe9\n", "pgveil.toml:1: invalid TOML: Encountered invalid utf-8 sequence. Save the file in UTF-8."},
        RefusedFile{"ListOfHosts", "[upstream.u]\nhost = [\"a\", \"b\"]\n", "pgveil.toml:2: upstream.u.host: requires a string. Write one string in quotes, without brackets."},
        RefusedFile{"KeyOfAnotherSection", "[log]\nidle_timeout = \"3s\"\n", "pgveil.toml:2: log.idle_timeout: does not belong in this section. Write it in [limits]."},
        RefusedFile{"KeyOfASectionAtTheTop", "hba_file = \"/x\"\n", "pgveil.toml:1: hba_file: does not belong in this section. Write it in a [[listener]]."},
        RefusedFile{"TextWithoutQuotes", "[[listener]]\naddress = 127.0.0.1:5432\n", "pgveil.toml:2: invalid TOML in time: expected ':', saw '7'. Write the value in quotes: address = \"127.0.0.1:5432\"."},
        RefusedFile{"NoToml", "[log]\nlevel = \n", "pgveil.toml:2: invalid TOML in key-value pair: expected value"},
        RefusedFile{"KeyTwice", "[log]\nlevel = \"info\"\nlevel = \"debug\"\n", "Remove one of the two, or join them."}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// The listener names the upstream, and its settings are in it.
TEST(Config, ReportsAnUpstreamWithAWrongHeaderOnce) {
  const std::string listener = "[[listener]]\naddress = \"127.0.0.1:1\"\n";
  for (const std::string text : {"upstream = \"u\"\n[[upstream.u]]\nhost = \"/run\"\n",
                                 "upstream = \"db.one\"\n[upstream.db.one]\nhost = \"/run\"\n"})
    EXPECT_EQ(errors_of(listener + text).size(), 1U) << text_of(listener + text);
}

TEST(Config, RefusesTwoListenersAtOneAddress) {
  const auto toml =
      TomlLines().text() + "[[listener]]\naddress = \"localhost:5432\"\nupstream = \"primary\"\n";
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "127.0.0.1:5432 is also the address of the listener in line 1",
                      text_of(toml));
}

std::string complaints_of_two(const std::string& first, const std::string& second) {
  const auto listener = [](const std::string& address) {
    const bool is_of_network = address.starts_with("0.0.0.0:") || address.starts_with("[::]:");
    return "[[listener]]\naddress = \"" + address + "\"\nupstream = \"primary\"\n" +
           (is_of_network ? "allow_plaintext_from_network = true\n" : "\n");
  };
  return text_of(listener(first) + listener(second) + "[upstream.primary]\nhost = \"/run\"\n");
}

TEST(Config, RefusesAListenerForAllAddressesNextToOneOfTheSamePort) {
  const std::string hint =
      ". 0.0.0.0 means all IPv4 addresses of this machine. Remove one of the two listeners, or use another port.";
  EXPECT_EQ(
      complaints_of_two("0.0.0.0:5432", "127.0.0.1:5432"),
      "pgveil.toml:6: listener[1].address: 127.0.0.1:5432 overlaps with 0.0.0.0:5432, the address of the "
      "listener in line 1" +
          hint + '\n');
  EXPECT_EQ(
      complaints_of_two("localhost:5432", "0.0.0.0:5432"),
      "pgveil.toml:6: listener[1].address: 0.0.0.0:5432 overlaps with 127.0.0.1:5432, the address of the "
      "listener in line 1" +
          hint + '\n');
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ":: means all IPv6 addresses",
                      complaints_of_two("[::]:5432", "[::1]:5432"));
}

TEST(Config, AllowsListenersForAllAddressesOfTwoFamiliesOrAtTwoPorts) {
  EXPECT_EQ(complaints_of_two("0.0.0.0:5432", "[::]:5432"), "");
  EXPECT_EQ(complaints_of_two("0.0.0.0:5432", "127.0.0.1:5433"), "");
  EXPECT_EQ(complaints_of_two("0.0.0.0:5432", "unix:/run/.s.PGSQL.5432"), "");
}

TEST(Config, AllowsTwoListenersAtAnyFreePort) {
  const auto toml = TomlLines().set("listener", R"(address = "127.0.0.1:0")").text() +
                    "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"primary\"\n";
  EXPECT_EQ(config_of(toml).listeners.size(), 2U);
}

TEST(Config, ReportsAllErrorsAtOnceInTheOrderOfTheirLines) {
  EXPECT_EQ(
      text_of(R"([log]
level = "verbose"
[upstream.primary]
host = "db01."
sslrotcert = "/r.crt"
sslmode = "require"
[[listener]]
upstream = "primary"
address = "0.0.0.0:5432"
[limits]
max_sessions = 0
)"),
      "pgveil.toml:2: log.level: invalid value \"verbose\". Use \"debug\", \"info\", \"warning\" or \"error\".\n"
      "pgveil.toml:3: upstream.primary.sslrootcert: is missing, and is required to verify the server. Set "
      "sslrootcert = \"/path/to/root.crt\" to the CA that signed the server's certificate, or "
      "sslrootcert = \"system\" to the CAs that this system trusts.\n"
      "pgveil.toml:4: upstream.primary.host: host name \"db01.\" begins or ends with a dot. Write the name as it is "
      "in the certificate, without that dot.\n"
      "pgveil.toml:5: upstream.primary.sslrotcert: unknown key. Did you mean \"sslrootcert\"?\n"
      "pgveil.toml:6: upstream.primary.sslmode: \"require\" is not supported: it does not verify the "
      "identity of the server. Use \"verify-full\" (the default), or \"disable\" for a Unix socket or a loopback "
      "address.\n"
      "pgveil.toml:9: listener[0].address: plaintext on 0.0.0.0:5432 can be read and altered by everyone on the "
      "network path. Use 127.0.0.1, [::1] or a Unix socket, or a certificate with ssl_cert_file, or allow it with "
      "allow_plaintext_from_network = true.\n"
      "pgveil.toml:11: limits.max_sessions: 0 is out of range. Use a number from 1 to 1000000.\n");
}

// --- secrets ---

class SecretOfTheFile : public testing::TestWithParam<std::string> {};

TEST_P(SecretOfTheFile, StandsInNoMessage) {
  const auto text = text_of("[upstream.a]\n" + GetParam());
  EXPECT_NE(text, "");
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "42", text);
}

INSTANTIATE_TEST_SUITE_P(Config, SecretOfTheFile,
                         testing::Values("sslpassword = 42", "sslpassword = '42", "sslpassword = hunter42",
                                         "sslpassword = 4242424242424242424242", "sslpasword = 4e42222",
                                         "sslpassword = \"42\\q\"", "sslpassword = ['42']",
                                         "sslpasword = '42'", "sslpassword = \"42\"\nsslpassword = \"42\""));

TEST(Secrets, AreWipedFromAConfiguration) {
  Config config{.listeners = {},
                .upstreams = {{"a", {}}},
                .limits = {},
                .log = {},
                .audit = {},
                .reload = {},
                .admin = {}};
  config.upstreams["a"].tls.sslpassword = "open sesame";
  wipe_secrets(config);
  EXPECT_EQ(config.upstreams["a"].tls.sslpassword, "");
}

// --- values ---

TEST(UnixPaths, MayHaveAsManyBytesAsTheKernelTakes) {
  const std::string directory = '/' + std::string(92, 'd');
  const auto config = config_of(TomlLines()
                                    .set("listener", "address = \"unix:" + directory + "/.s.PGSQL.5432\"")
                                    .set("upstream", "host = \"" + directory + "\"")
                                    .remove("upstream", "sslrootcert")
                                    .text());
  EXPECT_EQ(config.listeners[0].address.unix_path.size(), 107U);
  EXPECT_EQ(only_upstream(config).hosts[0].unix_path().size(), 107U);
}

TEST(SourceLocations, FallBackToTheSectionAboveAKey) {
  SourceLocations locations;
  locations.note("upstream.primary", {"pgveil.toml", 5});
  locations.note("upstream.primary.sslkey", {"pgveil.toml", 7});
  EXPECT_EQ(locations.find("upstream.primary.sslkey").line, 7);
  EXPECT_EQ(locations.find("upstream.primary.sslcert").line, 5);
  EXPECT_EQ(locations.find("upstream.secondary").line, 0);
}

}  // namespace
}  // namespace pgveil::proxy
