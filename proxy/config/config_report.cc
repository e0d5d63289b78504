#include "proxy/config/config_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <string_view>
#include <tuple>

#include "proxy/config/given_names.h"
#include "proxy/config/password_filter.h"

namespace pgveil::proxy {
namespace {

void append(ConfigErrors& list, ConfigErrors&& more) {
  std::move(more.begin(), more.end(), std::back_inserter(list));
}

bool is_before(const ConfigError& one, const ConfigError& other) {
  return std::tie(one.file, one.line) < std::tie(other.file, other.line);
}

ConfigErrors sorted(ConfigErrors list) {
  name_as_given(list);
  std::stable_sort(list.begin(), list.end(), is_before);
  std::set<std::string> texts;
  std::erase_if(list, [&](const ConfigError& error) { return !texts.insert(error.text()).second; });
  return list;
}

std::string_view section_of(std::string_view key) {
  return key.substr(0, key.rfind('.'));
}

std::string lines_of(std::string_view severity, const ConfigError& error) {
  std::string text =
      fmt::format("{}: {}\n", severity, values::without_passwords(error.location() + error.message));
  if (!error.hint.empty()) text += fmt::format("  hint: {}\n", values::without_passwords(error.hint));
  return text;
}

// "1 error", "2 errors".
std::string counted(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

void ConfigReport::add_errors(ConfigErrors errors) {
  append(errors_, std::move(errors));
}

void ConfigReport::add_warnings(ConfigErrors warnings) {
  append(warnings_, std::move(warnings));
}

void ConfigReport::add(ConfigReport other) {
  files_.merge(other.files_);
  add_errors(std::move(other.errors_));
  add_warnings(std::move(other.warnings_));
}

void ConfigReport::add_later(ConfigReport later, const SourceLocations& locations) {
  files_.merge(later.files_);
  const ConfigErrors known = errors_;
  const auto is_reported = [&](const ConfigError& error) {
    const bool is_set = locations.knows(error.key);
    return std::any_of(known.begin(), known.end(), [&](const ConfigError& other) {
      return other.key == error.key || (!is_set && section_of(other.key) == section_of(error.key));
    });
  };
  std::erase_if(later.errors_, is_reported);
  add_errors(std::move(later.errors_));
}

ConfigErrors ConfigReport::errors() const {
  return sorted(errors_);
}

ConfigErrors ConfigReport::warnings() const {
  return sorted(warnings_);
}

std::string ConfigReport::lines() const {
  const ConfigErrors all_errors = errors();
  const ConfigErrors all_warnings = warnings();
  std::string text;
  auto error = all_errors.begin();
  for (const ConfigError& warning : all_warnings) {
    for (; error != all_errors.end() && !is_before(warning, *error); ++error)
      text += lines_of("error", *error);
    text += lines_of("warning", warning);
  }
  for (; error != all_errors.end(); ++error) text += lines_of("error", *error);
  return text;
}

std::string ConfigReport::count_line() const {
  const std::size_t error_count = errors().size();
  const std::size_t warning_count = warnings().size();
  std::string text;
  if (error_count > 0) text = counted(error_count, "error");
  if (warning_count > 0) text += (text.empty() ? "" : ", ") + counted(warning_count, "warning");
  return text.empty() ? text : text + '\n';
}

}  // namespace pgveil::proxy
