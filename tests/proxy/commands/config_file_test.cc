// The configuration file that --config names: what of it is used, and which errors are reported. No password of it is
// repeated.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "tests/proxy/commands/invocations.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

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
    if (names.flag.empty() || names.section == "limits" || names.section == "log" ||
        names.section == "audit" || names.section == "reload" || names.section == "admin")
      continue;
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
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "error: PGVEIL_SSLPASSWORD: has no effect: no upstream has ",
                      ending.errors);
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

TEST(ConfigErrors, OfRuleFilesAreReportedBesideThoseOfTheirSection) {
  const TemporaryFile hba("host all all all nonsense\n");
  const TemporaryFile ident("m app +role\n");
  const TemporaryFile file("[[listener]]\naddress = \"5432\"\nupstream = \"a\"\nhba_file = \"" + hba.path() +
                           "\"\nident_file = \"" + ident.path() +
                           "\"\n[upstream.a]\nhost = \"/run/postgresql\"\n");
  const std::string errors = ending_of({"check", "--config", file.path()}).errors;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "listener[0].address: ", errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, hba.path() + ":1: listener[0].hba_file: ", errors);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ident.path() + ":1: listener[0].ident_file: ", errors);
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

}  // namespace
}  // namespace pgveil::proxy
