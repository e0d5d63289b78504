#include "proxy/commands/help.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>

#include "tests/proxy/commands/invocations.h"
#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

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

}  // namespace
}  // namespace pgveil::proxy
