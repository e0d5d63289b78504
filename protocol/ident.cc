#include "protocol/ident.h"

#include <algorithm>
#include <utility>

#include "protocol/name_pattern.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

// These two are not in the anonymous namespace: g++ warns of a base class of IdentMap::Line that is there, if the file is
// included in another one (-Wsubobject-linkage).

// A system user or a database user, as written in a line.
struct NameOrPattern {
  std::string text;
  std::optional<NamePattern> pattern;  // if the text begins with a slash, quoted or not
};

struct IdentLine {
  std::string file;
  int line = 0;
  std::string map;
  NameOrPattern system_user;
  NameOrPattern database_user;
  bool all = false;  // matches every database user
};

namespace {

constexpr std::string_view kFirstGroup = "\\1";

// Returns whether the name is not empty and has no control bytes. A control byte can deceive a reader, and a
// comparison may stop at a NUL.
bool is_usable(std::string_view name) {
  const auto is_control = [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7f; };
  return !name.empty() && std::none_of(name.begin(), name.end(), is_control);
}

// The database user to which a line maps a system user.
struct Mapped {
  enum class Outcome {
    nobody,
    user,  // `name`
    stop,  // the name cannot be built: later lines must not decide
  };
  Outcome outcome = Outcome::nobody;
  std::string name;
};

// Maps a system user, as check_ident_usermap() does before its comparison. `asked_user` is the result for a
// line that allows several users.
Mapped map_through(const IdentLine& line, std::string_view system_user, std::string_view asked_user) {
  std::optional<NamePattern::Found> found;
  if (line.system_user.pattern) {
    found = line.system_user.pattern->find_in(system_user);
    if (!found) return {};
  } else if (line.system_user.text != system_user) {
    return {};
  }
  if (line.all) return {Mapped::Outcome::user, std::string(asked_user)};
  if (line.database_user.pattern) {
    if (!line.database_user.pattern->is_in(asked_user)) return {};
    return {Mapped::Outcome::user, std::string(asked_user)};
  }
  std::string name = line.database_user.text;
  if (const auto place = name.find(kFirstGroup); found && place != std::string::npos) {
    if (!found->first_group) return {Mapped::Outcome::stop, ""};
    name.replace(place, kFirstGroup.size(), *found->first_group);  // only the first, as in PostgreSQL
  }
  return {Mapped::Outcome::user, std::move(name)};
}

// Returns the first result that is accepted, line by line, and name by name within a line, as check_usermap()
// does.
template <class Line, class Accept>
std::optional<IdentMap::Match> first_match(const std::vector<Line>& lines, std::string_view map,
                                           const std::vector<std::string>& system_users,
                                           std::string_view asked_user, const Accept& accepts) {
  if (map.empty()) {
    for (const std::string& system_user : system_users)
      if (is_usable(system_user) && accepts(system_user))
        return IdentMap::Match{
            .file = "", .line = 0, .system_user = system_user, .database_user = system_user};
    return std::nullopt;
  }
  for (const IdentLine& line : lines) {
    if (line.map != map) continue;
    for (const std::string& system_user : system_users) {
      if (!is_usable(system_user)) continue;
      Mapped mapped = map_through(line, system_user, asked_user);
      if (mapped.outcome == Mapped::Outcome::stop) return std::nullopt;
      if (mapped.outcome == Mapped::Outcome::user && accepts(mapped.name))
        return IdentMap::Match{line.file, line.line, system_user, std::move(mapped.name)};
    }
  }
  return std::nullopt;
}

// Reads one line, as parse_ident_line() does.
class LineReader {
 public:
  LineReader(const AuthLine& line, AuthFileErrors& errors, AuthFileErrors& warnings)
      : line_(line), errors_(errors), warnings_(warnings) {}

  // Returns the line. It must not be used if an error has been added.
  IdentLine read() {
    IdentLine parsed;
    parsed.file = line_.file;
    parsed.line = line_.line;
    if (!has_three_names()) return parsed;
    parsed.map = token(0).text;
    parsed.system_user = read_name(token(1));
    parsed.database_user = read_name(token(2));
    parsed.all = !token(2).quoted && token(2).text == "all";
    check_role();
    check_group(parsed);
    return parsed;
  }

 private:
  [[nodiscard]] const AuthToken& token(std::size_t field) const { return line_.fields[field].front(); }

  bool has_three_names() {
    if (line_.fields.size() < 3)
      return fail("the line ends before the database user", "Write MAP SYSTEM-USER DATABASE-USER.");
    for (std::size_t field = 0; field < 3; ++field)
      if (line_.fields[field].size() > 1)
        return fail(
            "field " + std::to_string(field + 1) + " has more than one name, of which the first is " +
                in_quotes(token(field).text),
            "Write a line for each name. Put a name or a regular expression that contains a comma in quotation "
            "marks.");
    if (line_.fields.size() > 3)
      warn("text after the third name is ignored: " + in_quotes(token(3).text),
           "Put a name that contains a blank in quotation marks.");
    return true;
  }

  NameOrPattern read_name(const AuthToken& token) {
    if (!token.text.starts_with('/')) return {token.text, std::nullopt};
    auto pattern = NamePattern::compile(std::string_view(token.text).substr(1));
    if (!pattern) {
      fail("invalid regular expression " + in_quotes(token.text) + ": " + escaped(pattern.error()),
           kRewritePattern);
      return {token.text, std::nullopt};
    }
    if (!pattern->is_anchored())
      warn("regular expression " + in_quotes(token.text) + " matches parts of longer names, too",
           "Write ^ before and $ after each alternative to match whole names only.");
    return {token.text, std::move(*pattern)};
  }

  void check_role() {
    if (!token(2).quoted && token(2).text.starts_with('+'))
      fail(in_quotes(token(2).text) + " depends on the members of a role, which pgveil does not know",
           "Write a line for each role, or use a regular expression.");
  }

  // PostgreSQL reports the first of these errors only when a user logs in, and never reports the second.
  void check_group(const IdentLine& parsed) {
    if (parsed.database_user.text.starts_with('/') ||
        parsed.database_user.text.find(kFirstGroup) == std::string::npos)
      return;
    if (parsed.system_user.pattern && !parsed.system_user.pattern->has_group())
      fail(
          "regular expression " + in_quotes(parsed.system_user.text) + " has no group in parentheses for \\1",
          "Write parentheses around the part that is the database user.");
    else if (parsed.system_user.pattern && !parsed.system_user.pattern->can_tell_first_group())
      fail(
          "\\1 is not supported with " + in_quotes(parsed.system_user.text) +
              ": its first group is repeated or inside another group, or a quantifier is non-greedy",
          "Write the group outside of other parentheses and without a quantifier after it. Do not write \"?\" after a "
          "quantifier.");
    else if (!parsed.system_user.text.starts_with('/'))
      warn(
          "\\1 is not replaced, since the system user is not a regular expression",
          "Write a slash before the system user to make it a regular expression, or write a name instead of \\1.");
  }

  bool fail(std::string message, std::string hint) {
    errors_.push_back({line_.file, line_.line, std::move(message), std::move(hint)});
    return false;
  }
  void warn(std::string message, std::string hint) {
    warnings_.push_back({line_.file, line_.line, std::move(message), std::move(hint)});
  }

  const AuthLine& line_;
  AuthFileErrors& errors_;
  AuthFileErrors& warnings_;
};

}  // namespace

struct IdentMap::Line : IdentLine {};

tl::expected<IdentMap, AuthFileErrors> IdentMap::parse(const std::vector<AuthLine>& lines) {
  AuthFileErrors errors;
  IdentMap map;
  for (const AuthLine& line : lines) map.lines_.push_back({LineReader(line, errors, map.warnings_).read()});
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return map;
}

std::optional<IdentMap::Match> IdentMap::check(std::string_view map,
                                               const std::vector<std::string>& system_users,
                                               std::string_view database_user) const {
  return first_match(lines_, map, system_users, database_user,
                     [&](const std::string& name) { return !name.empty() && name == database_user; });
}

std::optional<IdentMap::Match> IdentMap::assign(std::string_view map,
                                                const std::vector<std::string>& system_users,
                                                std::string_view asked_user) const {
  // A longer name is refused: the server would truncate it to the name of another user.
  return first_match(lines_, map, system_users, asked_user,
                     [](const std::string& name) { return !name.empty() && name.size() <= kMaxNameBytes; });
}

bool IdentMap::has_map(std::string_view map) const {
  return std::any_of(lines_.begin(), lines_.end(), [&](const Line& line) { return line.map == map; });
}

std::set<std::string> IdentMap::maps() const {
  std::set<std::string> names;
  for (const Line& line : lines_) names.insert(line.map);
  return names;
}

const AuthFileErrors& IdentMap::warnings() const {
  return warnings_;
}

IdentMap::IdentMap() = default;
IdentMap::IdentMap(IdentMap&&) noexcept = default;
IdentMap& IdentMap::operator=(IdentMap&&) noexcept = default;
IdentMap::~IdentMap() = default;

}  // namespace pgveil::protocol
