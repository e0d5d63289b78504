#include "proxy/config/toml_hint.h"

#include <algorithm>
#include <array>

namespace pgveil::proxy {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// UTF-16, as some editors of Windows write it.
bool is_utf16(std::string_view toml) {
  return toml.starts_with("\xff\xfe") || toml.starts_with("\xfe\xff") ||
         toml.substr(0, 4).find('\0') != toml.npos;
}

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

std::string hint_for_value(std::string_view line, std::string_view key, std::string_view value) {
  const std::string name(key);
  if (value.empty()) return "Write a value after \"=\".";
  if (value.front() == '"' || value.front() == '\'') {
    const bool is_long = value.starts_with("\"\"\"") || value.starts_with("'''");
    if (is_long || is_closed(value)) return std::string(kTomlReference);
    return "The text that begins in column " +
           std::to_string(static_cast<std::size_t>(value.data() - line.data()) + 1) +
           " is not closed. Write another " + value.front() + " at its end.";
  }
  if (is_octal(value))
    return name.ends_with("permissions") ? "Write a mode in quotes: " + name + " = \"0770\"."
                                         : "Write a number without zeros before it.";
  constexpr std::string_view kBeginsOther = "[{";
  if (kBeginsOther.find(value.front()) != kBeginsOther.npos || value == "true" || value == "false")
    return std::string(kTomlReference);
  return "Write a text in quotes: " + name + " = \"...\".";
}

}  // namespace

std::string toml_hint(std::string_view toml, std::size_t number) {
  if (is_utf16(toml)) return "The file is in UTF-16. Save it in UTF-8.";
  std::string_view rest = toml;
  for (std::size_t before = 1; before < number; ++before) {
    const auto end = rest.find('\n');
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
  const std::string_view line = rest.substr(0, rest.find('\n'));
  const std::string_view content = trimmed(line);
  if (content.starts_with(';') || content.starts_with("//")) return "A comment begins with \"#\".";
  if (has_typographic_quote(line)) return "Write straight quotes, \" or ', in place of typographic ones.";
  if (has_backslash(toml, number, content))
    return "A backslash in double quotes begins an escape. Write the text in single quotes, ' or ''', where a backslash is a "
           "character like any other.";
  const auto equals = content.find('=');
  if (equals == content.npos) return std::string(kTomlReference);
  auto value = trimmed(content.substr(equals + 1));
  if (value.find_first_of("\"'") == value.npos) value = trimmed(value.substr(0, value.find('#')));
  return hint_for_value(line, trimmed(content.substr(0, equals)), value);
}

}  // namespace pgveil::proxy
