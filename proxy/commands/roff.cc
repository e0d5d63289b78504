#include "proxy/commands/roff.h"

#include <cstddef>

#include "proxy/commands/help.h"

namespace pgveil::proxy::roff {
namespace {

constexpr std::size_t kWidth = 79;  // of the lines of the source

std::string_view escape_of(char letter) {
  switch (letter) {
    case '\\': return "\\e";
    case '-': return "\\-";
    case '\'': return "\\(aq";
    case '`': return "\\(ga";
    case '"': return "\\(dq";
    case '^': return "\\(ha";
    case '~': return "\\(ti";
    default: return "";
  }
}

// The lines, none of which is taken for a request: those begin with a period or an apostrophe.
std::string guarded(const std::string& lines) {
  std::string text;
  bool begins = true;
  for (const char letter : lines) {
    if (begins && (letter == '.' || letter == '\'')) text += "\\&";
    text += letter;
    begins = letter == '\n';
  }
  return text;
}

std::string in_font(char font, std::string_view text) {
  return std::string("\\f") + font + escaped(text) + "\\fR";
}

std::string with_newline(std::string text) {
  if (!text.ends_with('\n')) text += '\n';
  return text;
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    const std::string_view escape = escape_of(letter);
    if (escape.empty())
      result += letter;
    else
      result += escape;
  }
  return result;
}

std::string bold(std::string_view text) {
  return in_font('B', text);
}

std::string italic(std::string_view text) {
  return in_font('I', text);
}

std::string filled(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t open = text.find('`');
    const std::size_t close = open == std::string_view::npos ? open : text.find('`', open + 1);
    if (close == std::string_view::npos) break;
    result += escaped(text.substr(0, open)) + bold(text.substr(open + 1, close - open - 1));
    text.remove_prefix(close + 1);
  }
  return with_newline(guarded(wrapped(result + escaped(text), kWidth, 0)));
}

std::string example(std::string_view text) {
  return ".PP\n.EX\n" + with_newline(guarded(escaped(text))) + ".EE\n";
}

std::string section(std::string_view title) {
  return ".SH \"" + escaped(title) + "\"\n";
}

std::string subsection(std::string_view title) {
  return ".SS \"" + escaped(title) + "\"\n";
}

std::string entry(std::string_view term) {
  return ".TP\n" + with_newline(std::string(term));
}

}  // namespace pgveil::proxy::roff
