// What `pgveil generate` prints has every command and option that --help shows, and every setting of the table.
#include "proxy/commands/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "proxy/commands/roff.h"
#include "tests/proxy/commands/invocations.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

std::string help_of(Words command) {
  return ending_of(std::move(command) + Words{"--help"}).output;
}

// The first group of each line of `text` that matches.
Words found_in(const std::string& text, const std::string& expression) {
  const std::regex form(expression);
  Words found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (std::smatch match; std::regex_search(line, match, form)) found.push_back(match[1]);
  return found;
}

// Each command that --help shows: {"status"}, {"certs", "server"}.
std::vector<Words> commands_of_help(const Words& parent = {}) {
  std::vector<Words> commands;
  const std::string help = help_of(parent);
  const auto begin = help.find("\nCommands:\n");
  if (begin == std::string::npos) return commands;
  const std::string list = help.substr(begin + 11, help.find("\n\n", begin + 11) - begin - 11);
  for (const std::string& name : found_in(list, "^  ([a-z]+) ")) {
    commands.push_back(parent + Words{name});
    for (Words& nested : parent.empty() ? commands_of_help({name}) : std::vector<Words>{})
      commands.push_back(std::move(nested));
  }
  return commands;
}

// With the dashes.
Words options_of_help(const Words& command) {
  return found_in(help_of(command), "^  (?:-[a-z],)?(--[a-z0-9-]+)");
}

std::string joined(const Words& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

// From `begin` to the next `end`.
std::string part(const std::string& text, const std::string& begin, const std::string& end) {
  const auto from = text.find(begin);
  EXPECT_NE(from, std::string::npos) << begin;
  return from == std::string::npos ? "" : text.substr(from, text.find(end, from + begin.size()) - from);
}

TEST(Generate, KnowsEveryCommandThatHelpShows) {
  const auto commands = commands_of_help();
  EXPECT_GE(commands.size(), 16U);
  EXPECT_NE(std::ranges::find(commands, Words{"certs", "server"}), commands.end());
  EXPECT_GE(options_of_help({"run"}).size(), 100U);
}

TEST(Manual, HasEveryCommandWithEveryOption) {
  const std::string page = generate(Generated::manual);
  for (const Words& command : commands_of_help()) {
    const std::string name = joined(command, " ");
    EXPECT_PRED_FORMAT2(testing::IsSubstring, ".TP\n" + roff::bold(name) + '\n', page);
    const bool has_settings = name == "run" || name == "check";
    const std::string options = has_settings ? part(page, ".SH \"OPTIONS OF RUN AND CHECK\"", "\n.SH")
                                             : part(page, ".SS \"pgveil " + name, "\n.SS");
    for (const std::string& option : options_of_help(command))
      if (option != "--help") {
        EXPECT_PRED_FORMAT2(testing::IsSubstring, ".TP\n" + roff::bold(option), options);
      }
  }
}

TEST(Manual, HasTheExitCodesAndTheVariables) {
  const std::string page = generate(Generated::manual);
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      ".TP\n\\fB78\\fR\nInvalid setting in the file, an option or a variable.\n", page);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "PGVEIL_SSLROOTCERT", part(page, ".SH \"ENVIRONMENT\"", "\n.SH"));
}

// Lines that roff fills, as one.
std::string unwrapped(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

TEST(FileManual, HasEveryKeyWithTypeDefaultOptionAndVariable) {
  const std::string page = generate(Generated::file_manual);
  for (const SettingNames& names : all_settings()) {
    const std::string heading = names.section == "listener"      ? "[[listener]]"
                                : names.section == "certificate" ? "[[listener.certificate]]"
                                : names.section == "upstream"    ? "[upstream.NAME]"
                                                                 : '[' + names.section + ']';
    const std::string section = part(page, ".SH \"" + heading + '"', "\n.SH");
    const std::string entry = unwrapped(part(section, ".TP\n" + roff::bold(names.key) + '\n', "\n.TP"));
    EXPECT_PRED_FORMAT2(testing::IsSubstring, unwrapped(roff::filled("Type: " + names.type + ". Default: ")),
                        entry);
    if (names.required) {
      EXPECT_PRED_FORMAT2(testing::IsSubstring, "Default: required.", entry);
    }
    if (!names.default_text.empty()) {
      EXPECT_PRED_FORMAT2(testing::IsSubstring,
                          roff::escaped(std::regex_replace(names.default_text, std::regex(","), ", ")),
                          entry);
    }
    if (!names.flag.empty()) {
      EXPECT_PRED_FORMAT2(testing::IsSubstring, "Option: " + roff::bold(names.flag) + '.', entry);
    }
    if (!names.variable.empty()) {
      EXPECT_PRED_FORMAT2(testing::IsSubstring, "Variable: " + roff::bold(names.variable) + '.', entry);
    }
  }
}

TEST(FileManual, SaysWhatEachKeyDoesAndWhichChangesRequireARestart) {
  const std::string page = unwrapped(generate(Generated::file_manual));
  std::size_t restarts = 0;
  for_each_setting([&](const std::string&, const auto& setting) {
    EXPECT_PRED_FORMAT2(testing::IsSubstring, unwrapped(roff::filled(setting.effect)), page);
    if (setting.needs_restart) ++restarts;
  });
  const std::string sentence = "A change requires a restart.";
  for (auto at = page.find(sentence); at != std::string::npos; at = page.find(sentence, at + 1)) --restarts;
  EXPECT_EQ(restarts, 0U);
}

TEST(BashCompletion, HasEveryCommandWithEveryOption) {
  const std::string script = generate(Generated::bash);
  for (const Words& command : commands_of_help()) {
    const std::string block = part(script, "\n    '" + joined(command, " ") + "')\n", "\n      ;;\n");
    const std::string options = ' ' + part(block, "options='", "'").substr(9) + ' ';
    for (const std::string& option : options_of_help(command))
      EXPECT_PRED_FORMAT2(testing::IsSubstring, ' ' + option + ' ', options);
    const std::string parent = command.size() == 1 ? "" : command.front();
    const std::string list =
        part(part(script, "\n    '" + parent + "')\n", "\n      ;;\n"), "commands='", "'") + ' ';
    EXPECT_TRUE(std::regex_search(list, std::regex("[ ']" + command.back() + ' '))) << list;
  }
}

TEST(ZshCompletion, HasEveryCommandWithEveryOption) {
  const std::string script = generate(Generated::zsh);
  EXPECT_TRUE(script.starts_with("#compdef pgveil\n"));
  for (const Words& command : commands_of_help()) {
    const std::string function = "_pgveil_" + joined(command, "_");
    EXPECT_PRED_FORMAT2(testing::IsSubstring, ' ' + command.back() + ") " + function + " ;;\n", script);
    const std::string block = part(script, '\n' + function + "() {\n", "\n}\n");
    for (const std::string& option : options_of_help(command))
      EXPECT_TRUE(std::regex_search(block, std::regex("'\\*?" + option + "=?\\[")))
          << function << ' ' << option;
  }
}

TEST(FishCompletion, HasEveryCommandWithEveryOption) {
  const std::string script = generate(Generated::fish);
  for (const Words& command : commands_of_help()) {
    EXPECT_PRED_FORMAT2(testing::IsSubstring, " -a " + command.back() + " -d ", script);
    for (const std::string& option : options_of_help(command))
      EXPECT_PRED_FORMAT2(testing::IsSubstring,
                          "'__pgveil_in " + joined(command, " ") + "' -l " + option.substr(2) + ' ', script);
  }
}

TEST(Completion, HasTheWordsThatASettingTakes) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring, " --relay) kind='word' values='auto io_uring epoll' ;;\n",
                      generate(Generated::bash));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, " --sslmode) kind='word' values='verify-full disable' ;;\n",
                      generate(Generated::bash));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ":value:(TLSv1 TLSv1.1 TLSv1.2 TLSv1.3)'",
                      generate(Generated::zsh));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "-l target-session-attrs -x -a 'any' ",
                      generate(Generated::fish));
}

TEST(Generate, RefusesOtherNamesAndShowsThoseThatItKnows) {
  EXPECT_EQ(understood({"generate", "toml-man"}).generated, Generated::file_manual);
  for (const Words& words : {Words{"generate"}, Words{"generate", "tcsh"}}) {
    const auto ending = ending_of(words);
    EXPECT_EQ(ending.exit_code, kExitUsage);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "hint: The names are man, toml-man, bash, zsh, fish.\n",
                        ending.errors);
  }
}

}  // namespace
}  // namespace pgveil::proxy
