#include "proxy/config/toml_hint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "proxy/config/values.h"

namespace pgveil::proxy {
namespace {

bool has_typographic_quote(std::string_view line) {
  constexpr std::array<std::string_view, 6> kQuotes{"\u201c", "\u201d", "\u201e",
                                                    "\u2018", "\u2019", "\u00ab"};
  return std::ranges::any_of(kQuotes, [line](auto quote) { return line.find(quote) != line.npos; });
}

bool is_octal(std::string_view value) {
  return value.size() > 1 && value.front() == '0' && value.find_first_not_of("01234567") == value.npos;
}

// Whether the text that begins with the first character of `value`, a quote, ends in this line.
bool is_closed(std::string_view value) {
  const char quote = value.front();
  for (std::size_t i = 1; i < value.size(); ++i) {
    if (quote == '"' && value[i] == '\\')
      ++i;
    else if (value[i] == quote)
      return true;
  }
  return false;
}

// Of the text in double quotes in which the line stands; it may have begun in a line before.
bool has_backslash(std::string_view toml, std::size_t line, std::string_view content) {
  if (content.find('\\') == content.npos) return false;
  std::size_t quotes = 0;
  for (std::size_t at = 0; line > 1; --line) {
    const auto end = toml.find('\n', at);
    for (auto found = toml.find("\"\"\"", at); found < end; found = toml.find("\"\"\"", found + 3)) ++quotes;
    at = end + 1;
  }
  return quotes % 2 == 1 || content.find('"') < content.find('\\');
}

// The line of the quotes that begin a text of several lines which has no end; nullopt: each such text has an end.
std::optional<std::size_t> line_of_open_text(std::string_view toml) {
  std::optional<std::size_t> begin;
  char quote = 0;
  std::size_t line = 1;
  for (std::size_t at = 0; at < toml.size(); ++at) {
    if (toml[at] == '\n') ++line;
    const auto three = toml.substr(at, 3);
    if (three != "\"\"\"" && three != "'''") continue;
    if (begin && three.front() != quote) continue;
    begin = begin ? std::nullopt : std::optional(line);
    quote = three.front();
    at += 2;
  }
  return begin;
}

std::string hint_for_string(std::string_view line, std::string_view value) {
  const bool is_long = value.starts_with("\"\"\"") || value.starts_with("'''");
  if (is_long) return std::string(kTomlReference);
  if (is_closed(value))
    return "Write nothing but a comment after the value. Each key needs a line of its own.";
  return fmt::format("The string that begins in column {} is not closed. Write another {} at its end.",
                     value.data() - line.data() + 1, value.front());
}

bool is_boolean_word(std::string_view value) {
  constexpr std::array<std::string_view, 8> kWords{"yes",  "no",    "on",   "off",
                                                   "True", "False", "TRUE", "FALSE"};
  return std::ranges::find(kWords, value) != kWords.end();
}

std::string hint_for_value(std::string_view line, std::string_view key, std::string_view value) {
  if (value.empty()) return "Write a value after \"=\".";
  if (value.front() == '"' || value.front() == '\'') return hint_for_string(line, value);
  if (is_octal(value))
    return key.ends_with("permissions") ? fmt::format("Write a mode in quotes: {} = \"{}\".", key, value)
                                        : "Write a number without leading zeros.";
  if (is_boolean_word(value)) return "Write true or false.";
  if (value.front() == '[' || value.front() == '{' || value == "true" || value == "false")
    return std::string(kTomlReference);
  const bool can_be_quoted = value.find_first_of("\"\\") == value.npos;
  return fmt::format("Write the value in quotes: {} = \"{}\".", key, can_be_quoted ? value : "...");
}

std::string hint_without_equals(std::string_view content) {
  if (content.starts_with('[')) return "A section begins with a line such as [limits] or [[listener]].";
  if (content.find(':') != content.npos) return "Write \"=\" between a key and its value.";
  return std::string(kTomlReference);
}

}  // namespace

bool is_utf16(std::string_view toml) {
  return toml.starts_with("\xff\xfe") || toml.starts_with("\xfe\xff") ||
         toml.substr(0, 4).find('\0') != toml.npos;
}

std::string toml_hint(std::string_view toml, std::size_t number) {
  if (is_utf16(toml)) return "The file is in UTF-16. Save it in UTF-8.";
  std::string_view rest = toml;
  for (std::size_t before = 1; before < number; ++before) {
    const auto end = rest.find('\n');
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
  const std::string_view line = rest.substr(0, rest.find('\n'));
  const std::string_view content = values::trimmed(line);
  if (content.starts_with(';') || content.starts_with("//")) return "Begin a comment with \"#\".";
  if (has_typographic_quote(line)) return "Write straight quotes, \" or ', instead of typographic quotes.";
  if (has_backslash(toml, number, content))
    return "In double quotes, a backslash begins an escape sequence. Write the text in single quotes, ' or ''', in which a "
           "backslash has no special meaning.";
  if (const auto open = line_of_open_text(toml))
    return fmt::format("The text that begins in line {} is not closed. Write three quotes at its end.",
                       *open);
  const auto equals = content.find('=');
  if (equals == content.npos) return hint_without_equals(content);
  auto value = values::trimmed(content.substr(equals + 1));
  if (value.find_first_of("\"'") == value.npos) value = values::trimmed(value.substr(0, value.find('#')));
  return hint_for_value(line, values::trimmed(content.substr(0, equals)), value);
}

}  // namespace pgveil::proxy
