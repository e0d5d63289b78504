#include "protocol/name_pattern.h"

#include <re2/re2.h>

#include <utility>

namespace pgveil::protocol {
namespace {

using re2::RE2;

// Octets, not characters, as PostgreSQL has it: the rules are asked before a database is open, and so before
// there is an encoding. The UTF-8 mode would not find anything in a name that is no UTF-8. So `.` is one
// octet of a letter beyond ASCII, which has several; `.+` and `[^,]+` take the whole of it.
RE2::Options octet_options() {
  RE2::Options options;
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_dot_nl(true);  // PostgreSQL's `.` matches a newline, too
  options.set_log_errors(false);
  return options;
}

// RE2's own type of view: newer versions take Abseil's, which is std::string_view only where Abseil was built
// so.
re2::StringPiece view(std::string_view text) {
  return {text.data(), text.size()};
}

// What stands behind the flags for the whole, such as `(?i)`.
std::string_view without_flags(std::string_view expression) {
  if (!expression.starts_with("(?")) return expression;
  const auto end = expression.find_first_not_of("imsU-", 2);
  if (end == std::string_view::npos || expression[end] != ')') return expression;
  return expression.substr(end + 1);
}

// Where the bracket expression ends that begins at `place`: behind its `]`.
std::size_t end_of_brackets(std::string_view expression, std::size_t place) {
  ++place;
  if (place < expression.size() && expression[place] == '^') ++place;
  if (place < expression.size() && expression[place] == ']') ++place;  // the first is an ordinary character
  while (place < expression.size() && expression[place] != ']') {
    if (const auto end = expression.find(":]", place);
        expression.substr(place).starts_with("[:") && end != expression.npos)
      place = end + 2;
    else
      place += expression[place] == '\\' ? 2 : 1;
  }
  return place + 1;
}

bool starts_anchored(std::string_view branch) {
  constexpr std::string_view kQuantifiers = "*+?{";
  return branch.starts_with('^') && (branch.size() == 1 || kQuantifiers.find(branch[1]) == kQuantifiers.npos);
}

// Whether each alternative of the whole begins with `^` and ends with `$`: `^a|b$` does not.
bool anchors_both_ends(std::string_view expression) {
  expression = without_flags(expression);
  if (expression.find("\\Q") != std::string_view::npos) return false;  // `$` may be quoted then
  std::size_t branch = 0;
  std::size_t depth = 0;
  bool ends_with_dollar = false;
  for (std::size_t place = 0; place < expression.size();) {
    const char byte = expression[place];
    if (byte == '|' && depth == 0) {
      if (!ends_with_dollar || !starts_anchored(expression.substr(branch, place - branch))) return false;
      branch = place + 1;
    }
    ends_with_dollar = byte == '$' && depth == 0;
    if (byte == '(') ++depth;
    if (byte == ')') --depth;
    place = byte == '[' ? end_of_brackets(expression, place) : place + (byte == '\\' ? 2 : 1);
  }
  return ends_with_dollar && starts_anchored(expression.substr(branch));
}

}  // namespace

tl::expected<NamePattern, std::string> NamePattern::compile(std::string_view expression) {
  auto compiled = std::make_unique<const RE2>(view(expression), octet_options());
  if (!compiled->ok()) return tl::unexpected(compiled->error());
  return NamePattern(std::move(compiled), anchors_both_ends(expression));
}

bool NamePattern::is_in(std::string_view name) const {
  return compiled_->Match(view(name), 0, name.size(), RE2::UNANCHORED, nullptr, 0);
}

std::optional<NamePattern::Found> NamePattern::find_in(std::string_view name) const {
  re2::StringPiece groups[2];  // the whole match, and the first group
  const int wanted = has_group() ? 2 : 1;
  if (!compiled_->Match(view(name), 0, name.size(), RE2::UNANCHORED, groups, wanted)) return std::nullopt;
  if (groups[1].data() == nullptr) return Found{};
  return Found{.first_group = std::string(groups[1])};
}

bool NamePattern::has_group() const {
  return compiled_->NumberOfCapturingGroups() > 0;
}

NamePattern::NamePattern(std::unique_ptr<const RE2> compiled, bool is_anchored)
    : compiled_(std::move(compiled)), is_anchored_(is_anchored) {}

NamePattern::NamePattern(NamePattern&&) noexcept = default;
NamePattern& NamePattern::operator=(NamePattern&&) noexcept = default;
NamePattern::~NamePattern() = default;

}  // namespace pgveil::protocol
