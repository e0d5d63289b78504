#include "proxy/commands/command_line.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "proxy/commands/check.h"
#include "proxy/commands/help.h"
#include "proxy/config/config_report.h"
#include "proxy/snapshot/snapshot.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

using Words = std::vector<std::string>;
using Variables = std::map<std::string, std::string, std::less<>>;

const Words kSound{"run",           "--listen", "127.0.0.1:5432", "--upstream", "db01.example.com",
                   "--sslrootcert", "system"};

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Invocation understood(Words arguments, Variables environment = {}) {
  auto invocation = parse_command_line({std::move(arguments), std::move(environment)});
  if (invocation) return *std::move(invocation);
  ADD_FAILURE() << invocation.error().errors << invocation.error().output;
  return {.command = Command::run,
          .parsed = {.config = {.listeners = std::vector<ListenerConfig>(1),
                                .upstreams = {{"", {}}},
                                .limits = {},
                                .log = {}},
                     .origins = {}}};
}
Config config_of(Words arguments, Variables environment = {}) {
  return understood(std::move(arguments), std::move(environment)).parsed.config;
}
EarlyExit ending_of(Words arguments, Variables environment = {}) {
  auto invocation = parse_command_line({std::move(arguments), std::move(environment)});
  return invocation ? EarlyExit{-1, "", ""} : invocation.error();
}

std::string text_of(const ConfigErrors& errors) {
  ConfigReport report;
  report.add_errors(errors);
  return report.text();
}

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string path = (std::filesystem::temp_directory_path() / "pgveil-XXXXXX").string();
    const int descriptor = mkstemp(path.data());
    path_ = path;
    EXPECT_GE(descriptor, 0);
    std::ofstream(path_) << text;
    close(descriptor);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

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
      EXPECT_PRED_FORMAT2(testing::IsSubstring, variable + ": there is no such variable\n", ending.errors);
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
        Misnamed{"PGVEIL_hba", "Use PGVEIL_HBA."}, Misnamed{"PGVEIL_SSLCLR", "Is PGVEIL_SSLCRL meant?"},
        Misnamed{"PGVEIL_SOMETHING_ELSE",
                 "Unset it, or see docs/configuration.md for those that there are."}})
    EXPECT_EQ(ending_of(kSound, {{name, "5433"}}).errors,
              std::string("error: ") + name + ": there is no such variable\n  hint: " + hint + "\n1 error\n");
}

TEST(CommandLine, NamesAVariableThatIsNoneEvenIfNothingIsToBeRelayed) {
  const auto ending = ending_of({"run"}, {{"PGVEIL_HOST", "db01"}, {"PGVEIL_ADDRESS", "127.0.0.1:5432"}});
  EXPECT_EQ(ending.exit_code, kExitUsage);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_HOST: there is no such variable", ending.errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_ADDRESS: there is no such variable", ending.errors);
}

TEST(CommandLine, LocatesErrorsOfRulesInTheirVariable) {
  const auto invocation =
      understood(kSound, {{"PGVEIL_HBA", "host all all all relay\nhost all /( all relay"}});
  const auto snapshot = build_snapshot(invocation.parsed);
  ASSERT_FALSE(snapshot.has_value());
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_HBA:2: listener[0].hba: invalid regular expression",
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

// --- a file ---

TEST(CommandLine, ReadsTheFileOfConfig) {
  const TemporaryFile file(TomlLines().text());
  const auto invocation = understood({"check", "--config", file.path()});
  EXPECT_EQ(invocation.command, Command::check);
  EXPECT_EQ(only_upstream(invocation.parsed.config).name, "primary");
}

TEST(CommandLine, ReadsTheFileOfTheVariable) {
  const TemporaryFile file(TomlLines().text());
  EXPECT_EQ(only_upstream(config_of({"run"}, {{"PGVEIL_CONFIG", file.path()}})).name, "primary");
}

TEST(CommandLine, LetsLimitsAndLogWinOverTheFile) {
  const TemporaryFile file(
      TomlLines().set("limits", "max_sessions = 5").set("log", "level = \"error\"").text());
  const auto config =
      config_of({"run", "--config", file.path(), "--max-sessions", "7"}, {{"PGVEIL_LOG_LEVEL", "debug"}});
  EXPECT_EQ(config.limits.max_sessions, 7U);
  EXPECT_EQ(config.log.level, LogLevel::debug);
}

TEST(CommandLine, RefusesOtherSettingsBesideAFile) {
  const TemporaryFile file(TomlLines().text());
  for (const auto& sample : setting_samples()) {
    const auto names = names_of(sample);
    if (names.flag.empty() || names.section == "limits" || names.section == "log") continue;
    const auto ending = ending_of({"run", "--config", file.path(), names.flag, sample.outside});
    EXPECT_EQ(ending.exit_code, kExitUsage) << names.flag;
    EXPECT_PRED_FORMAT2(testing::IsSubstring, names.flag + " cannot be combined with --config",
                        ending.errors);
  }
}

TEST(CommandLine, RefusesAVariableBesideAFile) {
  const auto ending = ending_of({"run"}, {{"PGVEIL_CONFIG", "pgveil.toml"}, {"PGVEIL_SSLCRL", "/r.crl"}});
  EXPECT_EQ(ending.exit_code, kExitUsage);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_SSLCRL cannot be combined with PGVEIL_CONFIG",
                      ending.errors);
}

TEST(CommandLine, AnswersExNoInputIfTheFileCannotBeRead) {
  for (const std::string path : {"/nonexistent/pgveil.toml", "/"}) {
    const auto ending = ending_of({"run", "--config", path});
    EXPECT_EQ(ending.exit_code, kExitNoInput);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, path, ending.errors);
  }
}

TEST(CommandLine, ReportsErrorsOfTheFileAndOfWhatItNamesTogether) {
  const TemporaryFile file(TomlLines()
                               .set("upstream", "sslrootcert = \"/nonexistent/root.crt\"")
                               .set("limits", "max_session = 5")
                               .text());
  const auto ending = ending_of({"check", "--config", file.path(), "--log-level", "loud"});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  for (const std::string& part : {file.path() + ":6: upstream.primary.sslrootcert: ",
                                  file.path() + ":8: limits.max_session: ", std::string("--log-level: ")})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, part, ending.errors);
}

// --- secrets ---

TEST(Passphrase, HasNoFlagAndIsNotRepeated) {
  for (const Words& words : {Words{"--sslpassword=hunter2"}, Words{"--sslpassword", "hunter2"}}) {
    const auto ending = ending_of(kSound + words);
    EXPECT_EQ(ending.exit_code, kExitUsage);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_SSLPASSWORD", ending.errors);
    EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", ending.errors);
  }
}

TEST(Passphrase, OfTheVariableServesTheKeysOfAFileThatHaveNone) {
  const TemporaryFile file(
      TomlLines().set("upstream", "sslcert = \"/c\"").set("upstream", "sslkey = \"/k\"").text() +
      "[upstream.other]\nhost = \"db02\"\nsslrootcert = \"system\"\nsslcert = \"/c\"\n"
      "sslkey = \"/k\"\nsslpassword = \"own\"\n");
  const auto config = config_of({"run", "--config", file.path()}, {{"PGVEIL_SSLPASSWORD", "open sesame"}});
  EXPECT_EQ(config.upstreams.at("primary").tls.sslpassword, "open sesame");
  EXPECT_EQ(config.upstreams.at("other").tls.sslpassword, "own");
}

TEST(Passphrase, OfTheVariableIsAnErrorWithoutAKey) {
  const TemporaryFile file(TomlLines().text());
  const auto ending = ending_of({"run", "--config", file.path()}, {{"PGVEIL_SSLPASSWORD", "hunter2"}});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_SSLPASSWORD: ", ending.errors);
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", ending.errors);
}

TEST(Passphrase, InAFileThatOthersMayReadIsAnError) {
  const TemporaryFile file(TomlLines()
                               .set("upstream", "sslcert = \"/c\"")
                               .set("upstream", "sslkey = \"/k\"")
                               .set("upstream", "sslpassword = \"hunter2\"")
                               .text());
  using std::filesystem::perms;
  const auto with_mode = [&](perms mode) {
    std::filesystem::permissions(file.path(), perms::owner_read | perms::owner_write | mode);
    return ending_of({"run", "--config", file.path()});
  };
  EXPECT_EQ(with_mode(perms::none).exit_code, -1);  // taken
  for (const auto mode : {perms::others_read, perms::group_write, perms::others_exec}) {
    const auto ending = with_mode(mode);
    EXPECT_EQ(ending.exit_code, kExitConfig);
    EXPECT_PRED_FORMAT2(
        testing::IsSubstring,
        file.path() +
            ":9: upstream.primary.sslpassword: the file holds sslpassword and has group or "
            "world access\n  hint: Set the mode of the file to 0600, or to 0640 if root owns it.\n",
        ending.errors);
    EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", ending.errors);
  }
  // Of root's files a group may read one.
  EXPECT_EQ(with_mode(perms::group_read).exit_code, geteuid() == 0 ? -1 : kExitConfig);
}

TEST(Passphrase, OfTheVariableLeavesTheFileToBeReadByAll) {
  const TemporaryFile file(
      TomlLines().set("upstream", "sslcert = \"/c\"").set("upstream", "sslkey = \"/k\"").text());
  std::filesystem::permissions(file.path(), std::filesystem::perms::others_read,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(ending_of({"run", "--config", file.path()}, {{"PGVEIL_SSLPASSWORD", "hunter2"}}).exit_code, -1);
}

// What people paste where a host is asked for. None of it may be repeated.
const Words kConnectionStrings{"postgres://app:hunter2@db01.example.com:5432/ledger",
                               "postgresql://app:hunter2,hunter2@db01,db02/ledger",
                               "postgres://app:hun/ter2/hunter2:@hunter2@db01",
                               "postgres://db01/ledger?user=app&password=hunter2",
                               "host=db01 user=app password=hunter2",
                               "host=db01 PASSWORD = 'hunter2 hunter2' port=5432",
                               "jdbc:postgresql://db01/ledger?user=app&password=hunter2"};

// All that is printed of such a value, in parsing and in loading.
std::string all_messages(Words words, Variables variables = {}) {
  const auto invocation = parse_command_line({std::move(words), std::move(variables)});
  if (!invocation) return invocation.error().errors + invocation.error().output;
  const auto snapshot = build_snapshot(invocation->parsed);
  return snapshot ? text_of((*snapshot)->warnings) + summary_of(**snapshot) : snapshot.error().text();
}

TEST(Password, InAConnectionStringIsNeverRepeatedWhereverItIsGiven) {
  for (const auto& string : kConnectionStrings) {
    // Of URIs and of the other kind, one each, since loading takes its time.
    const bool is_loaded = string == kConnectionStrings.front() || string.starts_with("host=db01 user");
    Words words{"check"};
    Variables variables;
    for (const auto& names : all_settings()) {
      if (!names.flag.empty()) words = words + Words{names.flag, string};
      if (!names.variable.empty()) variables.emplace(names.variable, string);
    }
    EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", all_messages(words));
    EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", all_messages({"check"}, variables));
    for (const auto& sample : setting_samples()) {
      const auto parsed = parse_config(toml_with(sample, '"' + string + '"').text(), "pgveil.toml");
      std::string text;
      if (!parsed)
        text = text_of(parsed.error());
      else if (!is_loaded)
        continue;
      else if (const auto snapshot = build_snapshot(*parsed))
        text = text_of((*snapshot)->warnings) + summary_of(**snapshot);
      else
        text = snapshot.error().text();
      EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", text) << sample.section << '.' << sample.key;
    }
  }
}

TEST(ConfigErrors, OfOneCauseAreReportedOnce) {
  const TemporaryFile file(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\nssl_cert_file = \"/nonexistent.crt\"\n"
      "[upstream.a]\nhost = \"db01:5432\"\nsslrootcert = \"system\"\n");
  const std::string errors = ending_of({"check", "--config", file.path()}).errors;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "listener[0].ssl_cert_file", errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "upstream.a.host", errors);
  EXPECT_TRUE(errors.ends_with("\n2 errors\n")) << errors;
}

TEST(ConfigErrors, InTheNameOfAnUpstreamAreReportedOnce) {
  const TemporaryFile file(TomlLines().set("listener", "upstream = \"primray\"").text());
  const auto ending = ending_of({"check", "--config", file.path()});
  EXPECT_EQ(ending.exit_code, kExitConfig);
  const std::string name = "upstream \"primray\" does not exist";
  const auto first = ending.errors.find(name);
  EXPECT_NE(first, std::string::npos) << ending.errors;
  EXPECT_EQ(ending.errors.find(name, first + 1), std::string::npos) << ending.errors;
}

// What is wrong in one setting does not keep the others from being loaded and checked.
TEST(ConfigErrors, InAnySettingEndWithTheExitCodeOfAConfiguration) {
  for (const auto& sample : setting_samples()) {
    const TemporaryFile file(toml_with(sample, "\"no such value\"").text());
    const auto invocation = parse_command_line({{"check", "--config", file.path()}, {}});
    if (invocation) continue;
    EXPECT_EQ(invocation.error().exit_code, kExitConfig) << sample.key;
    EXPECT_NE(invocation.error().errors, "");
  }
  for (const std::string text :
       {"", "[[listener]]\n", "[upstream.a]\n", "[[listener]]\nupstream = \"a\"\n"}) {
    const TemporaryFile file(text);
    EXPECT_EQ(ending_of({"check", "--config", file.path()}).exit_code, kExitConfig) << text;
  }
}

TEST(Password, OfAHostIsNeverRepeated) {
  for (const std::string given : {"app:hunter2@db01:5432", "app:hunter2@db01", "db01,app:hunter2@db02"})
    for (const auto& [key, flag] : {std::pair{"host", "--upstream"}, std::pair{"hostaddr", "--hostaddr"}}) {
      const TemporaryFile file(TomlLines().set("upstream", std::string(key) + " = \"" + given + '"').text());
      const auto of_file = ending_of({"check", "--config", file.path()});
      EXPECT_EQ(of_file.exit_code, kExitConfig);
      EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", of_file.errors);
      const auto of_flag =
          ending_of({"check", "--listen", "127.0.0.1:0", "--sslrootcert", "system", flag, given});
      EXPECT_EQ(of_flag.exit_code, kExitConfig);
      EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", of_flag.errors);
    }
}

TEST(Password, IsNotRepeatedWhereNoSettingIsMeant) {
  for (const auto& string : kConnectionStrings) {
    const TemporaryFile section("[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"" + string +
                                "\"\n[upstream.\"" + string + "\"]\nhost = \"db01\"\n");
    const TemporaryFile key("[upstream.a]\n\"" + string + "\" = 1\n");
    const TemporaryFile broken("[upstream.a]\nhost = " + string + "\n");
    const TemporaryFile unended("[upstream.a]\nhost = \"" + string + "\n");
    for (const auto& text :
         {all_messages({"check", "--config", section.path()}),
          all_messages({"check", "--config", key.path()}), all_messages({"check", "--config", broken.path()}),
          all_messages({"check", "--config", unended.path()}), all_messages({"check", "--config", string}),
          all_messages({"check"}, {{"PGVEIL_CONFIG", string}}), all_messages({"check", string}),
          all_messages({"check", "--" + string}), all_messages({"check", "--upstreem", string}),
          all_messages({"check", "--upstreem=" + string}), all_messages({string}),
          all_messages({"check", "--help"}, {{"PGVEIL_UPSTREAM", string}}),
          all_messages(kSound, {{"PGVEIL_HOST", string}}), all_messages(kSound, {{"PGVEIL_DSN", string}})})
      EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", text) << string;
  }
}

TEST(Passphrase, OfSeveralLinesIsNotRepeatedIfItIsNoToml) {
  const TemporaryFile file("[upstream.a]\nsslpassword = \"\"\"\nabc=hunter2\\qhunter2\n\"\"\"\n");
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "hunter2", all_messages({"check", "--config", file.path()}));
}

// --- what cannot be understood ---

struct Misused {
  std::string name;
  Words arguments;
  std::string text;
};
void PrintTo(const Misused& row, std::ostream* out) {
  *out << row.name;
}
class MisusedCommandLine : public testing::TestWithParam<Misused> {};

TEST_P(MisusedCommandLine, AnswersExUsageAndSaysWhy) {
  const auto ending = ending_of(GetParam().arguments);
  EXPECT_EQ(ending.exit_code, kExitUsage);
  EXPECT_EQ(ending.output, "");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().text, ending.errors);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(CommandLine, MisusedCommandLine, testing::Values(
    Misused{"NoCommand", {}, "error: no command given\n  hint: The commands are run and check.\n"},
    Misused{"UnknownCommand", {"bogus"}, "error: unknown command \"bogus\"\n  hint: The commands are run and check.\n"},
    Misused{"MistypedCommand", {"chek"}, "error: unknown command \"chek\"; did you mean \"check\"?\n"},
    Misused{"OptionBeforeTheCommand", {"--listen=127.0.0.1:5432", "run"},
            "error: no command before the option \"--listen\"\n  hint: Write the command first: pgveil run --listen ...\n"},
    Misused{"UnknownOptionBeforeTheCommand", {"--lissten", "127.0.0.1:5432", "run"},
            "error: unknown option \"--lissten\"; did you mean \"--listen\"?\n"},
    Misused{"TwoCommands", {"run", "check"}, "error: unexpected argument \"check\"\n"},
    Misused{"NothingToRelay", {"run"},
            "error: no configuration is given\n  hint: Give --listen and --upstream, or --config FILE.\n"},
    Misused{"UnknownOption", kSound + Words{"--sslrootcrt", "x"},
            "error: unknown option \"--sslrootcrt\"; did you mean \"--sslrootcert\"?\n"},
    Misused{"OptionLikeNoOther", {"run", "--colour", "x"}, "error: unknown option \"--colour\"\nRun "},
    Misused{"ShortOption", {"run", "-l"}, "error: unknown option \"-l\"\nRun "},
    Misused{"KeyOfTheFile", {"run", "--host", "db01"}, "error: unknown option \"--host\"; did you mean \"--upstream\"?\n"},
    Misused{"SectionAndKey", {"run", "--limits-max-sessions=3"},
            "error: unknown option \"--limits-max-sessions\"; did you mean \"--max-sessions\"?\n"},
    Misused{"Port", {"run", "--port", "5432"}, "  hint: Write the port after the host: --upstream db01:5433.\n"},
    Misused{"KeyWithoutOption", {"run", "--password-command", "x"},
            "  hint: Set password_command in the file of --config: it has no option.\n"},
    Misused{"Passphrase", {"run", "--sslpassword", "x"}, "  hint: Use the environment variable PGVEIL_SSLPASSWORD.\n"},
    Misused{"ArgumentWithoutOption", kSound + Words{"x"}, "error: unexpected argument \"x\"\n  hint: Each value follows "},
    Misused{"FileWithoutOption", {"run", "pgveil.toml"},
            "error: unexpected argument \"pgveil.toml\"\n  hint: To use a configuration file, write --config pgveil.toml.\n"},
    Misused{"OptionWithoutValue", {"run", "--listen"}, "error: option \"--listen\" requires a value\n"},
    Misused{"OptionWithAnEmptyValue", {"run", "--listen="}, "error: option \"--listen\" requires a value\n"},
    Misused{"OptionInPlaceOfAValue", {"run", "--listen", "--upstream", "db01"},
            "error: option \"--listen\" requires a value\n"},
    Misused{"OptionTwice", kSound + Words{"--listen", "127.0.0.1:1"}, "error: option \"--listen\" is given more than once\n"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(CommandLine, NamesTheOptionForHelpAfterEachMistake) {
  for (const Words& words : {Words{}, Words{"bogus"}, Words{"run", "x"}, Words{"run", "--bogus"}}) {
    const auto errors = ending_of(words).errors;
    EXPECT_TRUE(errors.ends_with("\nRun \"pgveil run --help\" to see all options.\n")) << errors;
  }
}

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

// --- a configuration file that cannot be read ---

TEST(ConfigFile, ThatIsMissingIsReportedWithTheDirectoryInWhichItWasSearched) {
  const auto ending = ending_of({"run", "--config", "no/such.toml"});
  EXPECT_EQ(ending.exit_code, kExitNoInput);
  EXPECT_EQ(
      ending.errors,
      "error: cannot read the configuration file \"no/such.toml\": No such file or directory\n  hint: The path "
      "is relative; it was searched in the working directory \"" +
          std::filesystem::current_path().string() + "\". Check the path.\n");
}

TEST(ConfigFile, ThatIsADirectoryIsRefused) {
  const auto ending = ending_of({"run", "--config", "/"});
  EXPECT_EQ(ending.exit_code, kExitNoInput);
  EXPECT_EQ(ending.errors,
            "error: cannot read the configuration file \"/\": Is a directory\n  hint: Name a file in this "
            "directory.\n");
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

// --- what ends well at once ---

TEST(CommandLine, SaysItsVersionAndThoseOfItsLibraries) {
  const auto ending = ending_of({"--version"});
  EXPECT_EQ(ending.exit_code, kExitOk);
  const std::regex form(R"(pgveil \d+\.\d+\.\d+ \(OpenSSL [34]\..*, libuv 1\..*\)\n)");
  EXPECT_TRUE(std::regex_match(ending.output, form)) << ending.output;
}

TEST(CommandLine, HelpsWithEveryFlag) {
  const auto ending = ending_of({"run", "--help"});
  EXPECT_EQ(ending.exit_code, kExitOk);
  for (const auto& names : all_settings())
    EXPECT_PRED_FORMAT2(testing::IsSubstring, names.flag, ending.output);
}

// The longest line that has more than one word after its indentation.
std::size_t longest_line(const std::string& text) {
  std::size_t longest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto begin = std::min(line.find_first_not_of(' '), line.size());
    const bool is_option = line.find("  --") == 0 && line.find("  ", 4) == std::string::npos;
    if (!is_option && line.find(' ', begin) != std::string::npos) longest = std::max(longest, line.size());
  }
  return longest;
}

TEST(Help, IsWrappedToTheWidthOfTheTerminal) {
  for (const std::size_t width : {80U, 100U, 160U})
    for (const Words& words : {Words{"--help"}, Words{"run", "--help"}, Words{"check", "-h"}}) {
      const auto help = parse_command_line({words, {}, width});
      ASSERT_FALSE(help.has_value());
      EXPECT_EQ(help.error().exit_code, kExitOk);
      EXPECT_LE(longest_line(help.error().output), width) << help.error().output;
      EXPECT_GT(longest_line(help.error().output), width - 15) << help.error().output;
    }
}

TEST(Help, EndsWithTwoExamples) {
  for (const Words& words : {Words{"--help"}, Words{"run", "--help"}})
    EXPECT_TRUE(ending_of(words).output.ends_with(
        "\nExamples:\n  pgveil run --listen 127.0.0.1:5432 --upstream db01 --sslrootcert system\n"
        "  pgveil check --config /etc/pgveil/pgveil.toml\n"))
        << ending_of(words).output;
}

TEST(Help, NamesOptionsAsOptionsAndShowsDefaults) {
  const std::string help = ending_of({"run", "--help"}).output;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "(PEM); needs --ssl-key-file.", help);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "The startup parameter options of every session", help);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "(default: 10000)", help);
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "`", help);
}

TEST(Help, HasTheWidthThatTheVariableSays) {
  setenv("COLUMNS", "132", 1);
  EXPECT_EQ(terminal_width(), 132U);
  setenv("COLUMNS", "wide", 1);
  EXPECT_NE(terminal_width(), 0U);
  unsetenv("COLUMNS");
}

TEST(Help, HasNoLineOfBlanksAndKeepsWordsThatAreTooLong) {
  EXPECT_EQ(wrapped("one two three", 7, 0), "one two\nthree");
  EXPECT_EQ(wrapped("one two", 5, 2), "  one\n  two");
  EXPECT_EQ(wrapped("a very-long-word b", 6, 0), "a\nvery-long-word\nb");
  EXPECT_EQ(wrapped("one\n\ntwo", 9, 2), "  one\n\n  two");
  EXPECT_EQ(wrapped("", 9, 2), "");
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
