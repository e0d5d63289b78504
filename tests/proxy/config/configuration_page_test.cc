// docs/configuration.md against the table of settings, and its examples against the parser.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/proxy/config/setting_samples.h"

namespace pgveil::proxy {
namespace {

const std::filesystem::path kRoot = PGVEIL_SOURCE_DIR;

std::string page_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string heading_of(const std::string& section) {
  if (section == "listener") return "## `[[listener]]`";
  if (section == "certificate") return "## `[[listener.certificate]]`";
  if (section == "upstream") return "## `[upstream.NAME]`";
  return "## `[" + section + "]`";
}

// How a default is written in TOML.
std::string default_cell(const SettingNames& names) {
  if (names.required) return "required";
  if (names.default_text.empty()) return "-";
  const bool is_bare = names.type == "boolean" || names.type.starts_with("integer");
  return is_bare ? '`' + names.default_text + '`' : "`\"" + names.default_text + "\"`";
}

std::string flag_cell(const SettingNames& names) {
  if (!names.flag.empty()) return '`' + names.flag + '`';
  return names.variable.empty() ? "-" : '`' + names.variable + '`';
}

// Each row as the page must have it, under its heading.
std::vector<std::string> expected_lines() {
  std::vector<std::string> lines;
  std::string section;
  for_each_setting([&](const std::string& its_section, const auto& setting) {
    if (its_section != section) lines.push_back(heading_of(section = its_section));
    const SettingNames names{its_section,    std::string(setting.key), setting.flag(),  setting.variable(),
                             setting.type(), setting.default_text(),   setting.required};
    lines.push_back("| `" + names.key + "` | " + names.type + " | " + default_cell(names) + " | " +
                    flag_cell(names) + " | " + std::string(setting.effect) + " |");
  });
  return lines;
}

TEST(ConfigurationPage, HasEveryKeyWithTypeDefaultFlagAndEffectAndNoOther) {
  std::vector<std::string> headings;
  for (const char* section :
       {"listener", "certificate", "upstream", "limits", "log", "audit", "reload", "admin"})
    headings.push_back(heading_of(section));
  std::vector<std::string> found;
  for (const auto& line : lines_of(page_text(kRoot / "docs/configuration.md"))) {
    const bool is_heading = std::find(headings.begin(), headings.end(), line) != headings.end();
    if (is_heading || line.starts_with("| `")) found.push_back(line);
  }
  const auto expected = expected_lines();
  for (std::size_t i = 0; i < std::max(found.size(), expected.size()); ++i)
    EXPECT_EQ(i < found.size() ? found[i] : "(no line)", i < expected.size() ? expected[i] : "(no line)");
}

TEST(ConfigurationPage, ShowsOnlyWhatTheParserTakes) {
  const std::string page = page_text(kRoot / "docs/configuration.md");
  const std::string fence = "```toml\n";
  int examples = 0;
  for (auto begin = page.find(fence); begin != std::string::npos; begin = page.find(fence, begin + 1)) {
    const auto from = begin + fence.size();
    const auto parsed =
        parse_config(page.substr(from, page.find("```\n", from) - from), "docs/configuration.md");
    ++examples;
    EXPECT_TRUE(parsed.has_value()) << "example " << examples << ": "
                                    << (parsed ? "" : parsed.error().front().text());
  }
  EXPECT_GT(examples, 0);
}

TEST(Examples, AreTakenByTheParser) {
  int examples = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kRoot / "deploy/examples")) {
    if (entry.path().extension() != ".toml") continue;
    const auto parsed = parse_config(page_text(entry.path()), entry.path().filename().string());
    ++examples;
    EXPECT_TRUE(parsed.has_value()) << (parsed ? "" : parsed.error().front().text());
  }
  EXPECT_GT(examples, 0);
}

}  // namespace
}  // namespace pgveil::proxy
