#include "protocol/auth_file.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>

namespace pgveil::protocol {
namespace {

constexpr std::size_t kMaxDepth = 10;  // CONF_FILE_MAX_DEPTH
// pgveil's own limit: files that include each other several times multiply with every level.
constexpr int kMaxFiles = 1000;
// The length after which no further token of a record is shown. A record with `@file` can have thousands.
constexpr std::size_t kMaxShownRecord = 160;

bool is_blank(char byte) {
  return byte == ' ' || byte == '\t' || byte == '\r';
}

bool is_all_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

struct Token : AuthToken {
  bool before_comma = false;
  const char* open_mark = nullptr;  // the quotation mark that no other one closes
};

// Removes the next token from `rest`, and returns it; nullopt: there is none. Quotation marks may begin and
// end anywhere in a token.
std::optional<Token> take_token(std::string_view& rest) {
  while (!rest.empty() && (is_blank(rest.front()) || rest.front() == ',')) rest.remove_prefix(1);

  Token token;
  const char* mark = nullptr;  // the one that began the quotation
  bool in_quote = false;
  bool was_quote = false;  // the previous byte was a closing mark; a second mark then stands for itself
  bool saw_quote = false;
  for (; !rest.empty() && (in_quote || !is_blank(rest.front())); rest.remove_prefix(1)) {
    const char byte = rest.front();
    const bool is_quote = byte == '"';
    if (byte == '#' && !in_quote) {
      rest = {};
      break;
    }
    token.before_comma = byte == ',' && !in_quote;
    if (token.before_comma) break;
    if (!is_quote || was_quote) token.text += byte;
    was_quote = in_quote && is_quote && !was_quote;
    if (!is_quote) continue;
    in_quote = !in_quote;
    mark = rest.data();
    saw_quote = true;
    if (token.text.empty()) token.quoted = true;
  }
  if (!saw_quote && token.text.empty()) return std::nullopt;
  if (in_quote) token.open_mark = mark;
  return token;
}

struct LogicalLine {
  std::string text;
  int lines = 0;  // in the file
};

// Removes a line from `rest`, with the lines that continue it after a backslash. This is done before quotes
// and comments are read. A backslash continues a line only if it was read with that line: an empty line ends
// the continuation.
LogicalLine take_line(std::string_view& rest) {
  LogicalLine line;
  std::size_t joined = 0;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    line.text += rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    ++line.lines;
    while (line.text.ends_with('\r')) line.text.pop_back();
    if (line.text.size() <= joined || !line.text.ends_with('\\')) break;
    line.text.pop_back();
    joined = line.text.size();
  }
  return line;
}

// Returns the normalized path of `name` in `file`, so that different spellings give the same path.
std::string path_of(const std::string& name, const std::string& file) {
  auto path = (std::filesystem::path(file).parent_path() / name).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "conf.d/"
  return path.string();
}

enum class Directive { none, include, include_if_exists, include_dir };

// Returns the directive of the line. The name may be quoted, as in PostgreSQL.
Directive directive_of(const AuthLine& line) {
  if (line.fields.size() != 2) return Directive::none;
  const std::string& name = line.fields.front().front().text;
  if (name == "include") return Directive::include;
  if (name == "include_if_exists") return Directive::include_if_exists;
  if (name == "include_dir") return Directive::include_dir;
  return Directive::none;
}

class Splitter {
 public:
  Splitter(const AuthFileSource& source, AuthFileErrors& errors) : source_(source), errors_(errors) {}

  // Appends the records of `text`, the content of `file`, to `records`. `in_list`: `file` was named with an
  // `@`.
  void split(std::string_view text, const std::string& file, int first_line, bool in_list,
             std::vector<AuthLine>& records);

 private:
  struct Place {
    const std::string& file;
    int line;
    bool in_list;
    std::string_view text = {};  // of the record
    bool is_continued = false;   // the text is that of several lines
  };

  void split_line(std::string_view text, const Place& place, std::vector<AuthLine>& records);
  // Returns nullopt if the line has no further field.
  [[nodiscard]] std::optional<std::vector<AuthToken>> take_field(std::string_view& rest, const Place& place);
  [[nodiscard]] std::vector<AuthToken> names_in(const std::string& file, const Place& place);
  void follow(Directive directive, const AuthLine& line, const Place& place, std::vector<AuthLine>& records);
  void include(const std::string& path, bool may_be_missing, const Place& place,
               std::vector<AuthLine>& records);
  void include_directory(const std::string& path, const Place& place, std::vector<AuthLine>& records);
  // Returns nullopt after an error, or if the file is missing and may be missing.
  [[nodiscard]] std::optional<std::string> read(const std::string& path, bool may_be_missing,
                                                const Place& place);

  // PostgreSQL reads the rest of the line as a part of the name, which then is not the one that was meant.
  void report_open_mark(const Token& token, const Place& place) {
    const auto column = token.open_mark - place.text.data() + 1;
    report(place,
           place.is_continued
               ? "a quotation mark is not closed"
               : "the quotation mark in column " + std::to_string(column) + " of the record is not closed",
           "Write another quotation mark at the end of the name.");
  }

  void report(const Place& place, std::string message, std::string hint) {
    errors_.push_back({place.file, place.line, std::move(message), std::move(hint)});
  }

  const AuthFileSource& source_;
  std::vector<std::string> open_;  // the files that are being read; each is included by the one before it
  int files_ = 0;
  AuthFileErrors& errors_;
};

void Splitter::split(std::string_view text, const std::string& file, int first_line, bool in_list,
                     std::vector<AuthLine>& records) {
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(nul), '\n');
    report({file, first_line + static_cast<int>(lines), in_list}, "the text contains a NUL byte",
           "Save the file in ASCII or UTF-8.");
    return;
  }
  open_.push_back(std::filesystem::path(file).lexically_normal().string());
  while (!text.empty() && files_ <= kMaxFiles) {  // more files are reported as an error
    const LogicalLine line = take_line(text);
    split_line(line.text, {file, first_line, in_list, line.text, line.lines > 1}, records);
    first_line += line.lines;
  }
  open_.pop_back();
}

void Splitter::split_line(std::string_view text, const Place& place, std::vector<AuthLine>& records) {
  const auto errors_before = errors_.size();
  AuthLine line{place.file, place.line, {}};
  while (auto field = take_field(text, place))
    if (!field->empty()) line.fields.push_back(std::move(*field));
  if (errors_.size() != errors_before || line.fields.empty()) return;
  if (const auto directive = directive_of(line); directive != Directive::none)
    return follow(directive, line, place, records);
  records.push_back(std::move(line));
}

std::optional<std::vector<AuthToken>> Splitter::take_field(std::string_view& rest, const Place& place) {
  const auto errors_before = errors_.size();
  std::optional<std::vector<AuthToken>> names;
  while (auto token = take_token(rest)) {
    if (token->open_mark != nullptr) report_open_mark(*token, place);
    if (!names) names.emplace();
    if (!token->quoted && token->text.size() > 1 && token->text.front() == '@') {
      auto more = names_in(token->text.substr(1), place);
      std::move(more.begin(), more.end(), std::back_inserter(*names));
    } else {
      names->push_back(std::move(*token));
    }
    if (!token->before_comma) break;
  }
  // PostgreSQL ignores such a field, and reads the next field in its place.
  if (names && names->empty() && !place.in_list && errors_.size() == errors_before)
    report(place, "the list is empty: its file contains no name",
           "Write a name in the file, or remove the record.");
  return names;
}

std::vector<AuthToken> Splitter::names_in(const std::string& file, const Place& place) {
  const std::string path = path_of(file, place.file);
  std::vector<AuthLine> lines;
  if (const auto text = read(path, false, place)) split(*text, path, 1, true, lines);
  std::vector<AuthToken> names;
  for (AuthLine& line : lines)
    for (auto& field : line.fields) std::move(field.begin(), field.end(), std::back_inserter(names));
  return names;
}

void Splitter::follow(Directive directive, const AuthLine& line, const Place& place,
                      std::vector<AuthLine>& records) {
  const std::string& name = line.fields.back().front().text;
  if (line.fields.back().size() > 1 || is_all_blank(name))
    return report(place, in_quotes(line.fields.front().front().text) + " requires exactly one name",
                  "Write a line for each file. Put a name that contains a comma in quotation marks.");
  const std::string path = path_of(name, place.file);
  if (directive == Directive::include_dir) return include_directory(path, place, records);
  include(path, directive == Directive::include_if_exists, place, records);
}

void Splitter::include(const std::string& path, bool may_be_missing, const Place& place,
                       std::vector<AuthLine>& records) {
  if (const auto text = read(path, may_be_missing, place)) split(*text, path, 1, place.in_list, records);
}

// Includes the files as GetConfFilesInDir() does: in the order of the C locale.
void Splitter::include_directory(const std::string& path, const Place& place,
                                 std::vector<AuthLine>& records) {
  auto names = source_.list(path);
  if (!names)
    return report(place, "could not read directory " + in_quotes(path) + ": " + names.error().text,
                  names.error().hint);
  std::sort(names->begin(), names->end());
  for (const std::string& name : *names)
    if (name.ends_with(".conf") && !name.starts_with('.'))
      include((std::filesystem::path(path) / name).string(), false, place, records);
}

std::optional<std::string> Splitter::read(const std::string& path, bool may_be_missing, const Place& place) {
  if (std::find(open_.begin(), open_.end(), path) != open_.end()) {
    report(place, "file " + in_quotes(path) + " includes itself", "Remove this line.");
    return std::nullopt;
  }
  if (open_.size() > kMaxDepth) {
    report(place,
           "file " + in_quotes(path) + " is nested more than " + std::to_string(kMaxDepth) + " files deep",
           "Include it from a file that is nested less deeply.");
    return std::nullopt;
  }
  if (files_ >= kMaxFiles) {
    if (files_++ == kMaxFiles)  // reported once
      report(place, "more than " + std::to_string(kMaxFiles) + " files are included",
             "Include each file once, from one place.");
    return std::nullopt;
  }
  ++files_;
  auto text = source_.read(path);
  if (text) return std::move(*text);
  if (!text.error().is_missing || !may_be_missing)
    report(place, "could not read file " + in_quotes(path) + ": " + text.error().text, text.error().hint);
  return std::nullopt;
}

}  // namespace

std::vector<AuthLine> split_auth_file(std::string_view text, const std::string& file, int first_line,
                                      const AuthFileSource& source, AuthFileErrors& errors) {
  std::vector<AuthLine> records;
  Splitter(source, errors).split(text, file, first_line, false, records);
  return records;
}

std::string escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string shown;
  for (const char byte : text) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < ' ' || value == 0x7f)
      shown += {'\\', 'x', kHex[value >> 4], kHex[value & 15]};
    else
      shown += byte;
  }
  return shown;
}

std::string in_quotes(std::string_view text) {
  return '"' + escaped(text) + '"';
}

std::string text_of(const AuthLine& line) {
  std::string text;
  for (const auto& field : line.fields) {
    char separator = ' ';
    for (const AuthToken& token : field) {
      if (text.size() > kMaxShownRecord) return text + "...";
      if (!text.empty()) text += separator;
      const bool needs_quotes = token.quoted || token.text.find_first_of(" \t\r,#") != std::string::npos;
      text += needs_quotes ? in_quotes(token.text) : escaped(token.text);
      separator = ',';
    }
  }
  return text;
}

}  // namespace pgveil::protocol
