#include "protocol/pass_file.h"

#include <algorithm>
#include <utility>

namespace pgveil::protocol {
namespace {

constexpr std::string_view kDefaultHost = "localhost";  // DefaultHost

// Removes and returns the text before the first colon that has no backslash before it, and removes the colon;
// nullopt if there is none.
std::optional<std::string_view> take_field(std::string_view& rest) {
  for (std::size_t place = 0; place < rest.size(); ++place) {
    if (rest[place] == '\\') {
      ++place;
    } else if (rest[place] == ':') {
      const auto field = rest.substr(0, place);
      rest.remove_prefix(place + 1);
      return field;
    }
  }
  return std::nullopt;
}

// Returns `field` without its escaping backslashes. A backslash at the end stands for itself.
template <class Container>
Container without_backslashes(std::string_view field) {
  Container bytes;
  bytes.reserve(field.size());  // a reallocation would leave a part of a secret in memory
  for (std::size_t place = 0; place < field.size(); ++place) {
    if (field[place] == '\\' && place + 1 < field.size()) ++place;
    bytes.push_back(field[place]);
  }
  return bytes;
}

}  // namespace

class PassFile::Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  void read_line(std::string_view text, int line);

  [[nodiscard]] std::vector<Entry>& entries() { return entries_; }
  [[nodiscard]] AuthFileErrors& errors() { return errors_; }

 private:
  void report(int line, std::string message, std::string hint) {
    errors_.push_back({file_, line, std::move(message), std::move(hint)});
  }

  const std::string& file_;
  std::vector<Entry> entries_;
  AuthFileErrors errors_;
};

void PassFile::Reader::read_line(std::string_view text, int line) {
  if (text.find('\0') != text.npos)
    return report(line, "the text contains a NUL byte", "Save the file in ASCII or UTF-8.");
  while (text.ends_with('\r')) text.remove_suffix(1);  // pg_strip_crlf() removes all of them
  if (text.starts_with('#') || text.find_first_not_of(" \t") == text.npos) return;

  Entry entry;
  bool has_empty = false;
  for (Field& field : entry.fields) {
    const auto raw = take_field(text);
    if (!raw)
      return report(line, "the line has fewer than five fields",
                    "Write host:port:database:user:password. A comment begins with #.");
    has_empty |= raw->empty();
    if (*raw != "*") field = without_backslashes<std::string>(*raw);
  }
  if (has_empty)
    report(line, "a field before the password is empty, which nothing matches",
           "Write a value, or * for any value.");
  if (take_field(text))
    report(line, "the line has more than five fields",
           "Write \\: for a colon in the password, or remove what is not a part of it.");
  entry.password = SecretText(without_backslashes<std::vector<char>>(text));
  entries_.push_back(std::move(entry));
}

tl::expected<PassFile, AuthFileErrors> PassFile::parse(std::string_view text, const std::string& file) {
  Reader reader(file);
  for (int line = 1; !text.empty(); ++line) {
    const auto size = std::min(text.find('\n'), text.size());
    reader.read_line(text.substr(0, size), line);
    text.remove_prefix(std::min(size + 1, text.size()));
  }
  if (!reader.errors().empty()) return tl::unexpected(std::move(reader.errors()));
  PassFile pass_file;
  pass_file.entries_ = std::move(reader.entries());
  return pass_file;
}

const SecretText* PassFile::find(const Key& key) const {
  if (key.database.empty() || key.user.empty()) return nullptr;
  const std::array<std::string_view, kKeyFields> wanted{key.host.empty() ? kDefaultHost : key.host, key.port,
                                                        key.database, key.user};
  const auto matches = [](const Field& field, std::string_view value) { return !field || *field == value; };
  for (const Entry& entry : entries_)
    if (std::equal(entry.fields.begin(), entry.fields.end(), wanted.begin(), matches))
      return entry.password.view().empty() ? nullptr : &entry.password;
  return nullptr;
}

}  // namespace pgveil::protocol
