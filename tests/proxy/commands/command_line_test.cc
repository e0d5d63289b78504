#include "proxy/commands/command_line.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "proxy/snapshot/snapshot.h"
#include "tests/proxy/commands/invocations.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

// --- every setting, as flag and as variable ---

std::vector<SettingSample> samples_with(std::string SettingNames::*place) {
  std::vector<SettingSample> samples;
  for (const auto& sample : setting_samples())
    if (!(names_of(sample).*place).empty()) samples.push_back(sample);
  return samples;
}
std::string name_of_sample(const testing::TestParamInfo<SettingSample>& row) {
  return row.param.section + '_' + row.param.key;
}

// kSound with the flags that the sample needs, but not with its own.
Words words_around(const SettingSample& sample) {
  std::vector<std::pair<std::string, std::string>> flags{
      {"--listen", "127.0.0.1:5432"}, {"--upstream", "db01.example.com"}, {"--sslrootcert", "system"}};
  if (sample.key == "sslmode" || sample.key == "requirepeer") flags.pop_back();
  for (const auto& line : lines_of(sample.alongside)) {
    const auto key = line.substr(0, line.find(' '));
    auto value = line.substr(line.find("= ") + 2);
    std::erase(value, '"');
    const auto flag = names_of({.section = sample.section,
                                .key = key,
                                .toml = "",
                                .outside = "",
                                .wrong = "",
                                .alongside = "",
                                .has_arrived = nullptr})
                          .flag;
    std::erase_if(flags, [&flag](const auto& other) { return other.first == flag; });
    flags.emplace_back(flag, value);
  }
  const auto own = names_of(sample).flag;
  std::erase_if(flags, [&own](const auto& other) { return other.first == own; });
  Words words{"check"};
  for (const auto& [flag, value] : flags) words = words + Words{flag, value};
  return words;
}

class EveryFlag : public testing::TestWithParam<SettingSample> {};

TEST_P(EveryFlag, ArrivesInTheConfiguration) {
  const auto words = words_around(GetParam()) + Words{names_of(GetParam()).flag, GetParam().outside};
  EXPECT_TRUE(GetParam().has_arrived(config_of(words)));
}

TEST_P(EveryFlag, WinsOverItsVariable) {
  const auto names = names_of(GetParam());
  const auto words = words_around(GetParam()) + Words{names.flag + '=' + GetParam().outside};
  const auto config = config_of(words, {{names.variable, "/not/to/be/used"}});
  EXPECT_TRUE(GetParam().has_arrived(config));
}

TEST_P(EveryFlag, IsNamedIfItsValueIsWrong) {
  if (GetParam().wrong.empty()) return;  // every text will do
  const auto names = names_of(GetParam());
  const auto ending = ending_of(words_around(GetParam()) + Words{names.flag, GetParam().wrong});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, names.flag + ": ", ending.errors);
}

INSTANTIATE_TEST_SUITE_P(CommandLine, EveryFlag, testing::ValuesIn(samples_with(&SettingNames::flag)),
                         name_of_sample);

class EveryVariable : public testing::TestWithParam<SettingSample> {};

TEST_P(EveryVariable, ArrivesInTheConfiguration) {
  const auto config =
      config_of(words_around(GetParam()), {{names_of(GetParam()).variable, GetParam().outside}});
  EXPECT_TRUE(GetParam().has_arrived(config));
}

TEST_P(EveryVariable, IsNamedIfItsValueIsWrong) {
  if (GetParam().wrong.empty()) return;  // every text will do
  const auto variable = names_of(GetParam()).variable;
  const auto ending = ending_of(words_around(GetParam()), {{variable, GetParam().wrong}});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, variable + ": ", ending.errors);
}

INSTANTIATE_TEST_SUITE_P(CommandLine, EveryVariable, testing::ValuesIn(samples_with(&SettingNames::variable)),
                         name_of_sample);

// PGVEIL_ with the key itself, and with its section before it.
std::vector<std::string> variables_like_keys() {
  std::vector<std::string> variables{"PGVEIL_CONFIG"};
  for (const auto& names : all_settings()) variables.push_back(names.variable);
  std::vector<std::string> like;
  for (const auto& names : all_settings())
    for (const auto& name : {variable_name(names.key), variable_name(names.section + '-' + names.key)})
      if (std::find(variables.begin(), variables.end(), name) == variables.end()) like.push_back(name);
  return like;
}

TEST(CommandLine, RefusesEveryVariableThatIsNamedLikeAKeyAndDoesNotSetIt) {
  const auto all = variables_like_keys();
  ASSERT_FALSE(all.empty());
  Variables variables;
  for (const auto& variable : all) variables.emplace(variable, "5433");
  const TemporaryFile file(TomlLines().text());
  for (const Words& words : {kSound, Words{"check", "--config", file.path()}}) {
    const auto ending = ending_of(words, variables);
    EXPECT_EQ(ending.exit_code, kExitConfig);
    for (const auto& variable : all)
      EXPECT_PRED_FORMAT2(testing::IsSubstring, "error: unknown variable \"" + variable + "\"\n",
                          ending.errors);
  }
}

struct Misnamed {
  const char* name;
  const char* hint;
};
TEST(CommandLine, SaysWhatToUseInsteadOfAVariableThatIsNone) {
  for (const auto& [name, hint] :
       {Misnamed{"PGVEIL_HOST", "Use PGVEIL_UPSTREAM."}, Misnamed{"PGVEIL_ADDRESS", "Use PGVEIL_LISTEN."},
        Misnamed{"PGVEIL_LEVEL", "Use PGVEIL_LOG_LEVEL."},
        Misnamed{"PGVEIL_UPSTREAM_HOST", "Use PGVEIL_UPSTREAM."},
        Misnamed{"PGVEIL_LIMITS_MAX_SESSIONS", "Use PGVEIL_MAX_SESSIONS."},
        Misnamed{"PGVEIL_PORT", "Write the port after the host in PGVEIL_UPSTREAM, such as db01:5433."},
        Misnamed{"PGVEIL_PASSWORD_COMMAND",
                 "Set password_command in the file of --config: it has no variable."},
        Misnamed{"PGVEIL_SERVER_NAMES", "Set server_names in the file of --config: it has no variable."},
        Misnamed{"PGVEIL_hba", "Use PGVEIL_HBA."},
        Misnamed{"PGVEIL_SSLCLR", "Did you mean \"PGVEIL_SSLCRL\"?"},
        Misnamed{"PGVEIL_SOMETHING_ELSE",
                 "Unset it, or see docs/configuration.md for those that there are."}})
    EXPECT_EQ(ending_of(kSound, {{name, "5433"}}).errors,
              std::string("error: unknown variable \"") + name + "\"\n  hint: " + hint + "\n1 error\n");
}

TEST(CommandLine, NamesAVariableThatIsNoneEvenIfNothingIsToBeRelayed) {
  const auto ending = ending_of({"run"}, {{"PGVEIL_HOST", "db01"}, {"PGVEIL_ADDRESS", "127.0.0.1:5432"}});
  EXPECT_EQ(ending.exit_code, kExitUsage);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "unknown variable \"PGVEIL_HOST\"", ending.errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "unknown variable \"PGVEIL_ADDRESS\"", ending.errors);
}

TEST(CommandLine, LocatesErrorsOfRulesInTheirVariable) {
  const auto invocation =
      understood(kSound, {{"PGVEIL_HBA", "host all all all relay\nhost all /( all relay"}});
  const auto snapshot = build_snapshot(invocation.parsed);
  ASSERT_FALSE(snapshot.has_value());
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_HBA:2: invalid regular expression",
                      snapshot.error().text());
}

TEST(CommandLine, NamesFlagsAndVariablesAfterTheKeys) {
  EXPECT_EQ(flag_name("ssl_min_protocol_version"), "ssl-min-protocol-version");
  EXPECT_EQ(variable_name("ssl-min-protocol-version"), "PGVEIL_SSL_MIN_PROTOCOL_VERSION");
}

TEST(CommandLine, TakesAnEmptyVariableForNone) {
  EXPECT_EQ(only_upstream(config_of(kSound, {{"PGVEIL_SSLCRL", ""}})).tls.sslcrl, "");
}

TEST(CommandLine, TakesABooleanFlagAloneForTrue) {
  const auto config = config_of(
      {"run", "--allow-plaintext-from-network", "--listen", "0.0.0.0:5432", "--upstream", "/run/postgresql"});
  EXPECT_TRUE(config.listeners[0].allow_plaintext_from_network);
}

TEST(CommandLine, RefusesPlaintextFromTheNetworkWithTheFlagThatAllowsIt) {
  const auto ending = ending_of({"run", "--listen", "0.0.0.0:5432", "--upstream", "/run/postgresql"});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--listen: plaintext on 0.0.0.0:5432 can be read and altered",
                      ending.errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--allow-plaintext-from-network", ending.errors);
}

// --- --upstream ---

struct UpstreamWords {
  std::string name;
  std::string given;
  std::string hosts;  // "host port" of each
};
void PrintTo(const UpstreamWords& row, std::ostream* out) {
  *out << row.name;
}
class UpstreamFlag : public testing::TestWithParam<UpstreamWords> {};

TEST_P(UpstreamFlag, GivesHostsAndPorts) {
  const auto config = config_of({"run", "--listen", "127.0.0.1:0", "--upstream", GetParam().given}, {});
  std::string hosts;
  for (const auto& host : only_upstream(config).hosts)
    hosts += host.host + ' ' + std::to_string(host.port) + ';';
  EXPECT_EQ(hosts, GetParam().hosts);
}

INSTANTIATE_TEST_SUITE_P(CommandLine, UpstreamFlag,
                         testing::Values(UpstreamWords{"Directory", "/run/postgresql",
                                                       "/run/postgresql 5432;"},
                                         UpstreamWords{"DirectoryWithPort", "/run:5433", "/run 5433;"},
                                         UpstreamWords{"AbstractSocket", "@pg:1", "@pg 1;"}),
                         [](const auto& row) { return row.param.name; });

class UpstreamFlagWithTls : public testing::TestWithParam<UpstreamWords> {};

TEST_P(UpstreamFlagWithTls, GivesHostsAndPorts) {
  const auto config = config_of(
      {"run", "--listen", "127.0.0.1:0", "--sslrootcert", "system", "--upstream", GetParam().given}, {});
  std::string hosts;
  for (const auto& host : only_upstream(config).hosts)
    hosts += host.host + ' ' + std::to_string(host.port) + ';';
  EXPECT_EQ(hosts, GetParam().hosts);
}

INSTANTIATE_TEST_SUITE_P(
    CommandLine, UpstreamFlagWithTls,
    testing::Values(UpstreamWords{"Name", "db01", "db01 5432;"},
                    UpstreamWords{"NameWithPort", "db01.example.com:6432", "db01.example.com 6432;"},
                    UpstreamWords{"List", "db01:1,db02,192.0.2.1:3", "db01 1;db02 5432;192.0.2.1 3;"},
                    UpstreamWords{"Ipv6", "[::1]", "::1 5432;"},
                    UpstreamWords{"Ipv6WithPort", "[2001:db8::1]:1,[::1]:2", "2001:db8::1 1;::1 2;"}),
    [](const auto& row) { return row.param.name; });

class WrongUpstreamFlag : public testing::TestWithParam<std::string> {};

TEST_P(WrongUpstreamFlag, IsRefused) {
  const auto ending =
      ending_of({"run", "--listen", "127.0.0.1:0", "--sslrootcert", "system", "--upstream", GetParam()});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--upstream: ", ending.errors);
}

INSTANTIATE_TEST_SUITE_P(CommandLine, WrongUpstreamFlag,
                         testing::Values("::1", "[::1", "[db01]:1", "db01:", "db01:0", "db01:65536",
                                         "db01:5432x", ":5432", "db01,", "db01.:5432", "[::1]5432"));

TEST(CommandLine, NamesSettingsAsTheUserGaveThem) {
  const auto beside = ending_of({"run", "--config", "a.toml"}, {{"PGVEIL_LISTEN", "127.0.0.1:5432"}});
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "error: PGVEIL_LISTEN cannot be combined with --config\n",
                      beside.errors);
  const auto variables = ending_of({"run"}, {{"PGVEIL_UPSTREAM", "db01"}}).errors;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_LISTEN: is missing", variables);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "Set PGVEIL_SSLROOTCERT=/path/to/root.crt", variables);
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "--", variables);
  EXPECT_PRED_FORMAT2(
      testing::IsSubstring, "--ssl-crl-file: is set without --ssl-ca-file",
      all_messages({"check", "--listen", "127.0.0.1:0", "--upstream", "/run", "--ssl-cert-file", "/x",
                    "--ssl-key-file", "/y", "--ssl-crl-file", "/z"}));
  const auto both = ending_of({"run", "--upstream", "db01"}, {{"PGVEIL_LISTEN", "127.0.0.1:5432"}}).errors;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--sslrootcert: is missing", both);
}

TEST(CommandLine, SaysWhereAPortAloneBelongs) {
  const auto errors = ending_of({"run", "--listen", "5432", "--upstream", "db01"}).errors;
  EXPECT_PRED_FORMAT2(
      testing::IsSubstring,
      "--listen: address \"5432\" has no host\n  hint: Write \"127.0.0.1:5432\" for clients on this machine, or "
      "\"0.0.0.0:5432\" for all IPv4 clients.\n",
      errors);
}

TEST(CommandLine, NamesAFlagThatIsMissing) {
  const auto ending = ending_of({"run", "--upstream", "db01"});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--listen: is missing", ending.errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "--sslrootcert: is missing", ending.errors);
}

TEST(CommandLine, IgnoresWhatKubernetesSetsForAServiceOfItsName) {
  EXPECT_EQ(config_of(kSound, {{"PGVEIL_SERVICE_HOST", "10.0.0.1"},
                               {"PGVEIL_SERVICE_PORT", "5432"},
                               {"PGVEIL_PORT", "tcp://10.0.0.1:5432"},
                               {"PGVEIL_PORT_5432_TCP", "tcp://10.0.0.1:5432"},
                               {"PGVEIL_PORT_5432_TCP_PROTO", "tcp"},
                               {"PGVEIL_PORT_5432_TCP_PORT", "5432"},
                               {"PGVEIL_PORT_5432_TCP_ADDR", "10.0.0.1"},
                               {"PGVEIL_SERVICE_PORT_POSTGRESQL", "5432"},
                               {"PGVEIL_PORT_53_UDP", "udp://10.0.0.1:53"},
                               {"PGVEIL_INGRESS_SERVICE_HOST", "10.0.0.2"},
                               {"PGVEIL_INGRESS_SERVICE_PORT", "5432"},
                               {"PGVEIL_INGRESS_PORT", "tcp://10.0.0.2:5432"},
                               {"PGVEIL_INGRESS_PORT_5432_TCP_ADDR", "10.0.0.2"}})
                .listeners.size(),
            1U);
}

TEST(CommandLine, ReadsTheEnvironmentOfTheProcess) {
  const char* const arguments[] = {"pgveil", "run", "--listen", "127.0.0.1:0", "--sslrootcert", "system"};
  setenv("PGVEIL_UPSTREAM", "db01:6432", 1);
  const auto invocation = parse_command_line(6, arguments);
  unsetenv("PGVEIL_UPSTREAM");
  ASSERT_TRUE(invocation.has_value());
  EXPECT_EQ(only_upstream(invocation->parsed.config).hosts[0].port, 6432);
}

}  // namespace
}  // namespace pgveil::proxy
