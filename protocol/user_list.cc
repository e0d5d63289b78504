#include "protocol/user_list.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "protocol/backend.h"
#include "protocol/startup.h"

namespace pgveil::protocol {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";  // isspace() within a line
constexpr std::string_view kMd5 = "md5";
constexpr std::size_t kMd5Size = 35;                         // MD5_PASSWD_LEN
constexpr std::string_view kMd5Digits = "0123456789abcdef";  // MD5_PASSWD_CHARSET

void skip_blanks(std::string_view& rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
}

// Removes a quoted value from `rest`, and returns it; nullopt if no quoted value begins there, or if it does
// not end. A value that should be a name is also treated as a secret: see the header.
std::optional<SecretText> take_value(std::string_view& rest) {
  if (!rest.starts_with('"')) return std::nullopt;
  std::size_t end = rest.find('"', 1);
  while (end != rest.npos && rest.substr(end).starts_with("\"\"")) end = rest.find('"', end + 2);
  if (end == rest.npos) return std::nullopt;

  std::vector<char> characters;
  characters.reserve(end);  // a reallocation would leave a part of a secret in memory
  for (std::size_t place = 1; place < end; ++place) {
    characters.push_back(rest[place]);
    if (rest[place] == '"') ++place;
  }
  rest.remove_prefix(end + 1);
  return SecretText(std::move(characters));
}

bool is_md5(std::string_view secret) {
  return secret.size() == kMd5Size && secret.starts_with(kMd5) &&
         secret.find_first_not_of(kMd5Digits, kMd5.size()) == secret.npos;
}

// Returns nullopt if the text begins as a SCRAM secret, and is not a valid one.
std::optional<UserSecret> read_secret(SecretText text) {
  const std::string_view secret = text.view();
  if (secret.starts_with(kScramSha256) && secret.substr(kScramSha256.size()).starts_with('$'))
    return parse_scram_secret(secret);
  if (is_md5(secret)) return Md5Secret{};
  return UserSecret(std::move(text));
}

class UserListReader {
 public:
  explicit UserListReader(const std::string& file) : file_(file) {}

  void read_line(std::string_view text, int line);

  [[nodiscard]] std::vector<UserListEntry>& entries() { return entries_; }
  [[nodiscard]] AuthFileErrors& errors() { return errors_; }

 private:
  void add_user(std::string user, SecretText secret, int line);

  void report(int line, std::string message, std::string hint) {
    errors_.push_back({file_, line, std::move(message), std::move(hint)});
  }

  const std::string& file_;
  std::vector<UserListEntry> entries_;
  std::map<std::string, int> lines_;  // by user
  AuthFileErrors errors_;
};

void UserListReader::read_line(std::string_view text, int line) {
  if (text.find('\0') != text.npos)
    return report(line, "the text contains a NUL byte", "Save the file in ASCII or UTF-8.");
  skip_blanks(text);
  if (text.empty() || text.starts_with(';')) return;
  if (!text.starts_with('"'))
    return report(line, "the line does not begin with a quotation mark",
                  "Write \"user\" \"secret\". A comment begins with a semicolon.");
  const auto user = take_value(text);
  if (!user)
    return report(line, "the user does not end with a quotation mark on this line",
                  "Write \"user\" \"secret\", with each quotation mark in a value doubled.");
  skip_blanks(text);
  auto secret = take_value(text);
  if (!secret)
    return report(
        line, "no secret in quotation marks follows the user on this line",
        "Write \"user\" \"secret\", with a blank between, and each quotation mark in a value doubled.");
  add_user(std::string(user->view()), std::move(*secret), line);
}

void UserListReader::add_user(std::string user, SecretText secret, int line) {
  if (user.empty()) {
    report(line, "the user is empty", "Write the name of the user, or remove the line.");
  } else if (user.size() > kMaxNameBytes) {
    report(line, "the user is longer than " + std::to_string(kMaxNameBytes) + " bytes",
           "Write the name as the server knows it: the server truncates longer names.");
  } else if (const auto [first, is_new] = lines_.emplace(user, line); !is_new) {
    report(line, "line " + std::to_string(first->second) + " has the same user",
           "Remove one of the two lines.");
  }

  if (secret.view().empty())
    return report(line, "the secret is empty", "Write the secret of the user, or remove the line.");
  auto read = read_secret(std::move(secret));
  if (!read)
    return report(line,
                  "the secret begins with SCRAM-SHA-256$, but is not a SCRAM secret or has more than " +
                      std::to_string(kMaxScramIterations) + " iterations",
                  "Copy the whole value of rolpassword from pg_authid of the server.");
  entries_.push_back({std::move(user), std::move(*read), line});
}

}  // namespace

tl::expected<std::vector<UserListEntry>, AuthFileErrors> parse_user_list(std::string_view text,
                                                                         const std::string& file) {
  UserListReader reader(file);
  for (int line = 1; !text.empty(); ++line) {
    const auto size = std::min(text.find('\n'), text.size());
    reader.read_line(text.substr(0, size), line);
    text.remove_prefix(std::min(size + 1, text.size()));
  }
  if (!reader.errors().empty()) return tl::unexpected(std::move(reader.errors()));
  return std::move(reader.entries());
}

}  // namespace pgveil::protocol
