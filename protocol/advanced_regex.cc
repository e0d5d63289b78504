#include "protocol/advanced_regex.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <utility>

namespace pgveil::protocol {
namespace {

using ByteSet = std::bitset<256>;

constexpr int kMaxRepetitions = 255;  // DUPMAX

bool is_digit(char byte) {
  return byte >= '0' && byte <= '9';
}
bool is_letter(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}
std::size_t value_of(char byte) {
  return static_cast<unsigned char>(byte);
}

ByteSet range(std::size_t first, std::size_t last) {
  ByteSet set;
  for (; first <= last; ++first) set.set(first);
  return set;
}

struct NamedClass {
  std::string_view name;
  ByteSet bytes;
};
// The named classes of regc_locale.c (classNames, cclasscvec()) in collation "C".
const std::array<NamedClass, 14>& named_classes() {
  static const std::array<NamedClass, 14> classes = [] {
    const ByteSet digit = range('0', '9');
    const ByteSet lower = range('a', 'z');
    const ByteSet upper = range('A', 'Z');
    const ByteSet alnum = digit | lower | upper;
    const ByteSet graph = range('!', '~');
    return std::array<NamedClass, 14>{{
        {"alnum", alnum},
        {"alpha", lower | upper},
        {"ascii", range(0, 0x7f)},
        {"blank", range(' ', ' ') | range('\t', '\t')},
        {"cntrl", range(0, 0x1f) | range(0x7f, 0x9f)},
        {"digit", digit},
        {"graph", graph},
        {"lower", lower},
        {"print", range(' ', '~')},
        {"punct", graph & ~alnum},
        {"space", range('\t', '\r') | range(' ', ' ')},
        {"upper", upper},
        {"word", alnum | range('_', '_')},
        {"xdigit", digit | range('a', 'f') | range('A', 'F')},
    }};
  }();
  return classes;
}
const NamedClass* find_class(std::string_view name) {
  const auto& classes = named_classes();
  const auto* found =
      std::find_if(classes.begin(), classes.end(), [name](const auto& each) { return each.name == name; });
  return found == classes.end() ? nullptr : found;
}

std::string hexadecimal(std::size_t value) {
  constexpr std::string_view kHex = "0123456789abcdef";
  return {'\\', 'x', kHex[value >> 4], kHex[value & 15]};
}

// Returns a set as a bracket expression of RE2. It depends on no option for case and uses no named class.
std::string class_of(const ByteSet& set) {
  if (set.none()) return "[^\\x00-\\xff]";
  std::string text = "[";
  for (std::size_t first = 0; first < set.size(); ++first) {
    if (!set[first]) continue;
    std::size_t last = first;
    while (last + 1 < set.size() && set[last + 1]) ++last;
    text += hexadecimal(first);
    if (last > first) text += '-' + hexadecimal(last);
    first = last;
  }
  return text + ']';
}

class Translator {
 public:
  explicit Translator(std::string_view expression) : rest_(expression) {}

  tl::expected<AdvancedRegex, std::string> translate() {
    read_options();
    while (error_.empty() && !rest_.empty()) read_part();
    if (error_.empty() && !groups_.empty()) fail("parentheses () not balanced");
    if (!error_.empty()) return tl::unexpected(std::move(error_));
    end_branch();
    return std::move(result_);
  }

 private:
  // What precedes the current position; it decides whether a quantifier may follow.
  enum class Last { nothing, constraint, atom, quantifier };
  struct Group {
    bool is_first = false;  // the first capturing group, at the top level
  };
  // A backslash and the characters that belong to it.
  struct Escape {
    enum class Kind { plain, bytes, other };
    Kind kind = Kind::other;
    char name = '\0';       // the letter after the backslash
    std::size_t value = 0;  // for Kind::plain
    ByteSet bytes;
  };

  void fail(std::string why) {
    if (error_.empty()) error_ = std::move(why);
  }
  char take() {
    const char byte = rest_.front();
    rest_.remove_prefix(1);
    return byte;
  }
  bool take_if(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  void read_options();
  void read_part();
  void read_group();
  void end_group();
  void read_quantifier(char byte);
  std::optional<int> read_repetitions();
  void read_brackets();
  bool read_bracket_item(ByteSet& set, bool is_first);
  std::optional<std::size_t> read_range_end();
  bool read_named_class(ByteSet& set);
  void read_escape();
  Escape take_escape();
  std::optional<std::size_t> take_hexadecimal();

  void add_constraint(std::string_view text, bool begins, bool ends);
  void add_atom(const std::string& text);
  void add_byte(std::size_t value);
  [[nodiscard]] ByteSet with_both_cases(ByteSet set) const;
  void end_branch();

  std::string_view rest_;
  std::string error_;
  AdvancedRegex result_;
  std::string branch_;  // the branch that is being read, in RE2's syntax
  Last last_ = Last::nothing;
  bool ignores_case_ = false;
  std::vector<Group> groups_;  // the open groups
  bool has_group_ = false;
  std::size_t group_begin_ = 0, group_end_ = 0;  // of the first group, in its branch
  bool is_group_in_branch_ = false;
  bool ends_first_group_ = false;  // the previous character was the `)` of the first group
  bool begins_anchored_ = false, ends_anchored_ = false, is_branch_begun_ = false;
  bool are_anchored_ = true;  // all earlier branches
};

// Reads directors and embedded options, as prefixes() does.
void Translator::read_options() {
  if (rest_.starts_with("***")) return fail("directors such as ***: and ***= are not supported");
  if (rest_.size() < 3 || !rest_.starts_with("(?") || !is_letter(rest_[2])) return;
  rest_.remove_prefix(2);
  while (!rest_.empty() && is_letter(rest_.front())) switch (take()) {
      case 'c': ignores_case_ = false; break;
      case 'i': ignores_case_ = true; break;
      case 's':  // the default in any case: no byte is special
      case 't': break;
      default: return fail("of the embedded options only (?i), (?c), (?s) and (?t) are supported");
    }
  if (!take_if(")")) fail("invalid embedded option");
}

// Reads one part, as next() and parseqatom() do.
void Translator::read_part() {
  const bool ends_first_group = std::exchange(ends_first_group_, false);
  const char byte = take();
  switch (byte) {
    case '|':
      if (groups_.empty()) return end_branch();
      branch_ += '|';
      last_ = Last::nothing;
      ends_anchored_ = false;
      return;
    case '(': return read_group();
    case ')': return end_group();
    case '^': return add_constraint("\\A", true, false);
    case '$': return add_constraint("\\z", false, true);
    case '.': return add_atom("[\\x00-\\xff]");
    case '[': return read_brackets();
    case '\\': return read_escape();
    case '{':
      if (rest_.empty() || !is_digit(rest_.front())) return add_byte(value_of(byte));
      [[fallthrough]];
    case '*':
    case '+':
    case '?':
      if (ends_first_group) is_group_in_branch_ = false;  // the group is repeated
      return read_quantifier(byte);
    default: return add_byte(value_of(byte));
  }
}

void Translator::read_group() {
  Group group;
  if (take_if("?")) {
    if (!take_if(":"))
      return fail(rest_.starts_with('=') || rest_.starts_with('!') || rest_.starts_with('<')
                      ? "lookahead and lookbehind are not supported"
                      : "(? may be followed by : only, or by options at the beginning");
    branch_ += "(?:";
  } else {
    if (!has_group_ && groups_.empty()) {
      group.is_first = true;
      group_begin_ = branch_.size();
    }
    has_group_ = true;
    branch_ += '(';
  }
  groups_.push_back(group);
  is_branch_begun_ = true;
  ends_anchored_ = false;
  last_ = Last::nothing;
}

void Translator::end_group() {
  if (groups_.empty()) return fail("parentheses () not balanced");
  branch_ += ')';
  if (groups_.back().is_first) {
    group_end_ = branch_.size();
    is_group_in_branch_ = ends_first_group_ = true;
  }
  groups_.pop_back();
  ends_anchored_ = false;
  last_ = Last::atom;
}

void Translator::read_quantifier(char byte) {
  if (last_ != Last::atom) return fail("quantifier operand invalid");
  branch_ += byte;
  if (byte == '{') {
    const auto least = read_repetitions();
    if (!least) return;
    branch_ += std::to_string(*least);
    if (take_if(",")) {
      branch_ += ',';
      if (!rest_.empty() && is_digit(rest_.front())) {
        const auto most = read_repetitions();
        if (!most) return;
        if (*most < *least) return fail("invalid repetition count(s)");
        branch_ += std::to_string(*most);
      }
    }
    if (!take_if("}")) return fail(rest_.empty() ? "braces {} not balanced" : "invalid repetition count(s)");
    branch_ += '}';
  }
  // A non-greedy quantifier changes which match is found, but not whether there is a match.
  if (take_if("?")) result_.has_non_greedy = true;
  ends_anchored_ = false;
  last_ = Last::quantifier;
}

// Reads a count, as scannum() does.
std::optional<int> Translator::read_repetitions() {
  int count = 0;
  while (!rest_.empty() && is_digit(rest_.front()) && count <= kMaxRepetitions)
    count = count * 10 + (take() - '0');
  if (count <= kMaxRepetitions) return count;
  fail("invalid repetition count(s)");
  return std::nullopt;
}

// Reads a bracket expression, as bracket() and next() do.
void Translator::read_brackets() {
  if (rest_.starts_with("[:<:]]") || rest_.starts_with("[:>:]]"))
    return fail("[[:<:]] and [[:>:]] are not supported");
  const bool is_negated = take_if("^");
  ByteSet set;
  for (bool is_first = true;; is_first = false) {
    if (rest_.empty()) return fail("brackets [] not balanced");
    if (!is_first && take_if("]")) break;
    if (!read_bracket_item(set, is_first)) return;
  }
  set = with_both_cases(set);
  add_atom(class_of(is_negated ? ~set : set));
}

// Reads one item, as brackpart() does. Returns false after an error.
bool Translator::read_bracket_item(ByteSet& set, bool is_first) {
  if (rest_.starts_with("[:")) return read_named_class(set);
  if (rest_.starts_with("[.") || rest_.starts_with("[="))
    return fail("collating elements and equivalence classes, [. .] and [= =], are not supported"), false;
  const char byte = take();
  std::size_t first = value_of(byte);
  if (byte == '-' && !is_first && !rest_.starts_with(']')) return fail("invalid character range"), false;
  if (byte == '\\') {
    const Escape escape = take_escape();
    if (escape.kind == Escape::Kind::bytes) {
      set |= escape.bytes;
      return true;
    }
    if (escape.kind != Escape::Kind::plain) return fail("invalid escape \\ sequence"), false;
    first = escape.value;
  }
  const bool is_range = rest_.starts_with('-') && !rest_.starts_with("-]");
  if (!is_range) {
    set.set(first);
    return true;
  }
  rest_.remove_prefix(1);
  const auto last = read_range_end();
  if (!last) return false;
  if (*last < first) return fail("invalid character range"), false;
  set |= range(first, *last);
  return true;
}

std::optional<std::size_t> Translator::read_range_end() {
  if (rest_.empty()) return fail("brackets [] not balanced"), std::nullopt;
  if (rest_.starts_with("[.") || rest_.starts_with("[=") || rest_.starts_with("[:"))
    return fail("invalid character range"), std::nullopt;
  const char byte = take();
  if (byte != '\\') return value_of(byte);
  const Escape escape = take_escape();
  if (escape.kind == Escape::Kind::plain) return escape.value;
  return fail("invalid character range"), std::nullopt;
}

bool Translator::read_named_class(ByteSet& set) {
  rest_.remove_prefix(2);
  const auto end = rest_.find(":]");
  if (end == std::string_view::npos) return fail("brackets [] not balanced"), false;
  std::string_view name = rest_.substr(0, end);
  if (ignores_case_ && (name == "lower" || name == "upper")) name = "alpha";
  const auto* found = find_class(name);
  if (found == nullptr) return fail("invalid character class"), false;
  rest_.remove_prefix(end + 2);
  set |= found->bytes;
  return true;
}

void Translator::read_escape() {
  const Escape escape = take_escape();
  switch (escape.kind) {
    case Escape::Kind::plain: return add_byte(escape.value);
    case Escape::Kind::bytes: return add_atom(class_of(escape.bytes));
    case Escape::Kind::other: break;
  }
  switch (escape.name) {
    case 'A': return add_constraint("\\A", true, false);
    case 'Z': return add_constraint("\\z", false, true);
    case 'y': return add_constraint("\\b", false, false);
    case 'Y': return add_constraint("\\B", false, false);
    default: return fail("invalid escape \\ sequence");
  }
}

// Reads an escape, as lexescape() does. Returns kind `other` also after an error.
Translator::Escape Translator::take_escape() {
  if (rest_.empty()) return fail("invalid escape \\ sequence"), Escape{};
  Escape escape;
  escape.name = take();
  const auto plain = [&](std::size_t value) {
    escape.kind = Escape::Kind::plain;
    escape.value = value;
    return escape;
  };
  const auto bytes = [&](std::string_view name, bool is_complement) {
    const ByteSet& set = find_class(name)->bytes;
    escape.kind = Escape::Kind::bytes;
    escape.bytes = is_complement ? ~set : set;
    return escape;
  };
  if (!is_letter(escape.name) && !is_digit(escape.name)) return plain(value_of(escape.name));
  switch (escape.name) {
    case 'a': return plain(7);
    case 'e': return plain(0x1b);
    case 'f': return plain('\f');
    case 'n': return plain('\n');
    case 'r': return plain('\r');
    case 't': return plain('\t');
    case 'v': return plain('\v');
    case 'd': return bytes("digit", false);
    case 'D': return bytes("digit", true);
    case 's': return bytes("space", false);
    case 'S': return bytes("space", true);
    case 'w': return bytes("word", false);
    case 'W': return bytes("word", true);
    case 'A':
    case 'Z':
    case 'y':
    case 'Y': return escape;
    case 'x':
      if (const auto value = take_hexadecimal()) return plain(*value);
      return escape;
    case 'b':
    case 'B': fail("\\b and \\B are not word boundaries in PostgreSQL; \\y and \\Y are"); return escape;
    case 'm':
    case 'M': fail("\\m and \\M are not supported; \\y matches at both ends of a word"); return escape;
    case 'c':
    case 'u':
    case 'U':
    case '0': {
      std::string problem = "the escape \\? is not supported";
      problem[problem.find('?')] = escape.name;
      fail(std::move(problem));
      return escape;
    }
    default: break;
  }
  fail(is_digit(escape.name) ? "back references are not supported" : "invalid escape \\ sequence");
  return escape;
}

// Reads all hexadecimal digits that follow, as lexdigits() does.
std::optional<std::size_t> Translator::take_hexadecimal() {
  const auto digits = std::min(rest_.find_first_not_of("0123456789abcdefABCDEF"), rest_.size());
  if (digits == 0) return fail("invalid escape \\ sequence"), std::nullopt;
  std::size_t value = 0;
  for (std::size_t place = 0; place < digits; ++place) {
    const char digit = take();
    value = value * 16 + static_cast<std::size_t>(is_digit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
    if (value > 0xff) return fail("the escape \\x is not supported for more than one byte"), std::nullopt;
  }
  return value;
}

void Translator::add_constraint(std::string_view text, bool begins, bool ends) {
  if (begins && !is_branch_begun_) begins_anchored_ = true;
  ends_anchored_ = ends && groups_.empty();
  is_branch_begun_ = true;
  branch_ += text;
  last_ = Last::constraint;
}

void Translator::add_atom(const std::string& text) {
  is_branch_begun_ = true;
  ends_anchored_ = false;
  branch_ += text;
  last_ = Last::atom;
}

void Translator::add_byte(std::size_t value) {
  ByteSet set;
  set.set(value);
  set = with_both_cases(set);
  add_atom(set.count() == 1 ? hexadecimal(value) : class_of(set));
}

ByteSet Translator::with_both_cases(ByteSet set) const {
  if (!ignores_case_) return set;
  for (std::size_t lower = 'a'; lower <= 'z'; ++lower) {
    const std::size_t upper = lower - 'a' + 'A';
    if (set[lower] || set[upper]) set.set(lower).set(upper);
  }
  return set;
}

void Translator::end_branch() {
  are_anchored_ = are_anchored_ && begins_anchored_ && ends_anchored_;
  result_.is_anchored = are_anchored_;
  if (!result_.branches.empty()) result_.re2 += '|';
  result_.re2 += branch_;
  if (std::exchange(is_group_in_branch_, false))
    result_.first_group = {.branch = result_.branches.size(),
                           .before = branch_.substr(0, group_begin_),
                           .group = branch_.substr(group_begin_, group_end_ - group_begin_),
                           .after = branch_.substr(group_end_)};
  result_.branches.push_back(std::exchange(branch_, {}));
  begins_anchored_ = ends_anchored_ = is_branch_begun_ = false;
  last_ = Last::nothing;
}

}  // namespace

tl::expected<AdvancedRegex, std::string> translate_advanced_regex(std::string_view expression) {
  return Translator(expression).translate();
}

}  // namespace pgveil::protocol
