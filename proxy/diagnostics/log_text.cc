#include "proxy/diagnostics/log_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace pgveil::proxy {
namespace {

// Returns the length of the UTF-8 sequence at the front of `text` (RFC 3629); 0: there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (size == 0 || size > text.size()) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and code points above U+10FFFF are invalid.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  return size;
}

// Returns the code point of a UTF-8 sequence. For a byte that is not part of one, returns its value.
char32_t code_point(std::string_view sequence) {
  const auto byte = [&](std::size_t i) -> char32_t { return static_cast<unsigned char>(sequence[i]); };
  const auto tail = [&](std::size_t i) { return byte(i) & 0x3fU; };
  switch (sequence.size()) {
    case 2: return (byte(0) & 0x1fU) << 6U | tail(1);
    case 3: return (byte(0) & 0x0fU) << 12U | tail(1) << 6U | tail(2);
    case 4: return (byte(0) & 0x07U) << 18U | tail(1) << 12U | tail(2) << 6U | tail(3);
    default: return byte(0);
  }
}

// Returns whether a terminal or a program that reads lines would act on the character: a control character, a separator
// of lines or paragraphs, or one that changes the direction of the text (Unicode's Bidi_Control). All are below U+10000.
bool must_be_escaped(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

// Returns whether the character need not be escaped in quotes.
bool is_printable(char c) {
  return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

// Returns whether the character needs no quotes in text.
bool is_plain(char c) {
  return is_printable(c) && c != ' ' && c != '=';
}

void append_key(std::string& line, bool as_json, std::string_view key) {
  line += as_json ? ",\"" : " ";
  line += key;
  line += as_json ? "\":" : "=";
}

// Other characters than harmless, valid UTF-8 become \uXXXX, so that a client cannot write a line of its own, or change
// how another line looks.
void append_escaped(std::string& out, std::string_view value, bool is_in_quotes) {
  while (!value.empty()) {
    const auto* end = std::find_if_not(value.begin(), value.end(), [](char c) { return is_printable(c); });
    out.append(value.begin(), end);
    value.remove_prefix(static_cast<std::size_t>(end - value.begin()));
    if (value.empty()) break;
    const std::size_t valid = utf8_sequence(value);
    const std::string_view piece = value.substr(0, std::max<std::size_t>(valid, 1));
    const char32_t c = code_point(piece);
    if (valid == 0 || must_be_escaped(c)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      if (is_in_quotes && (c == '"' || c == '\\')) out += '\\';
      out += piece;
    }
    value.remove_prefix(piece.size());
  }
}

}  // namespace

void append_quoted(std::string& out, std::string_view value) {
  out += '"';
  append_escaped(out, value, true);
  out += '"';
}

std::string printable(std::string_view value) {
  std::string text;
  append_escaped(text, value, false);
  return text;
}

std::string_view cut(std::string_view text, std::size_t max, std::string& room) {
  if (text.size() <= max) return text;
  constexpr unsigned kContinuationMask = 0xC0;
  constexpr unsigned kContinuation = 0x80;
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & kContinuationMask) == kContinuation;
  };
  // A character has three further bytes at most.
  std::size_t end = max;
  while (end > 0 && max - end < 3 && continues(end)) --end;
  if (continues(end)) end = max;  // this is not UTF-8
  room.assign(text.substr(0, end)).append("...");
  return room;
}

void append_null(std::string& line, bool as_json, std::string_view key) {
  if (!as_json) return;
  append_key(line, as_json, key);
  line += "null";
}

void append_field(std::string& line, bool as_json, std::string_view key, std::string_view value) {
  if (value.empty()) return append_null(line, as_json, key);
  append_key(line, as_json, key);
  // A lambda is compiled into the loop; a function would be called for each byte of the log.
  if (!as_json && std::all_of(value.begin(), value.end(), [](char c) { return is_plain(c); })) {
    line += value;
  } else {
    append_quoted(line, value);
  }
}

void append_number(std::string& line, bool as_json, std::string_view key, std::uint64_t value) {
  append_key(line, as_json, key);
  const fmt::format_int digits(value);
  line.append(digits.data(), digits.size());
}

void append_flag(std::string& line, bool as_json, std::string_view key, std::optional<bool> value) {
  if (!value) return append_null(line, as_json, key);
  append_key(line, as_json, key);
  line += as_json ? (*value ? "true" : "false") : (*value ? "yes" : "no");
}

}  // namespace pgveil::proxy
