// Any bytes as PgBouncer's userlist.txt and as libpq's .pgpass. If a userlist.txt is accepted, written again
// and parsed again, its content must be the same. In a .pgpass, the first match must be found, also after a
// line is added before or after the others.
#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>

#include "protocol/pass_file.h"
#include "protocol/user_list.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

constexpr std::size_t kLongestText = 200;  // a longer one would contain the text of the file

void check_errors(const AuthFileErrors& errors, std::string_view text) {
  require(!errors.empty());
  for (const AuthFileError& error : errors) {
    require(error.line >= 1 && error.line <= 1 + std::count(text.begin(), text.end(), '\n'));
    require(error.message.size() < kLongestText && error.hint.size() < kLongestText);
  }
}

// --- userlist.txt ---

std::string in_doubled_marks(std::string_view value) {
  std::string text = "\"";
  for (const char byte : value) text.append(byte == '"' ? 2 : 1, byte);
  return text + '"';
}

std::string written(const UserSecret& secret) {
  if (const auto* scram = std::get_if<ScramSecret>(&secret)) return format_scram_secret(*scram);
  if (const auto* password = std::get_if<SecretText>(&secret)) return std::string(password->view());
  return "md5" + std::string(32, '0');
}

std::string written(const std::vector<UserListEntry>& list) {
  std::string text;
  for (const auto& [user, secret, line] : list)
    text += in_doubled_marks(user) + ' ' + in_doubled_marks(written(secret)) + '\n';
  return text;
}

void check_user_list(std::string_view text) {
  const auto list = parse_user_list(text, "userlist.txt");
  if (!list) return check_errors(list.error(), text);
  std::set<std::string> users;
  for (const UserListEntry& entry : *list) {
    require(!entry.user.empty() && entry.user.size() <= 63 && users.insert(entry.user).second);
    require(!written(entry.secret).empty());
  }
  const auto again = parse_user_list(written(*list), "userlist.txt");
  require(again.has_value() && written(*again) == written(*list));
  for (std::size_t place = 0; place < list->size(); ++place)
    require((*again)[place].secret.index() == (*list)[place].secret.index());
}

// --- .pgpass ---

// Takes a value for the key: the text before the first newline. It is never empty and has no zero byte,
// because the file could not match such a value.
std::string take_value(std::string_view& text) {
  std::string value(text.substr(0, text.find('\n')));
  text.remove_prefix(std::min(value.size() + 1, text.size()));
  std::erase(value, '\0');
  return value.empty() ? "x" : value;
}

std::string with_backslashes(std::string_view value) {
  std::string text;
  for (const char byte : value) text.append({'\\', byte});
  return text;
}

std::string find(const std::string& text, const PassFile::Key& key) {
  const auto file = PassFile::parse(text, "pgpass");
  require(file.has_value());
  const SecretText* password = file->find(key);
  if (password == nullptr) return "";
  require(!password->view().empty());
  require(password->view().find('\n') == std::string_view::npos);  // no more than its line
  require(password->view().find('\0') == std::string_view::npos);
  return std::string(password->view());
}

void check_pass_file(std::string_view rest) {
  const std::array<std::string, 4> values{take_value(rest), take_value(rest), take_value(rest),
                                          take_value(rest)};
  const PassFile::Key key{values[0], values[1], values[2], values[3]};
  const std::string text(rest);
  const auto file = PassFile::parse(text, "pgpass");
  if (!file) return check_errors(file.error(), text);

  std::string before;
  for (const std::string& value : values) before += with_backslashes(value) + ':';
  require(find(before + "\\:\\\\\n" + text, key) == ":\\");
  const auto found = find(text, key);
  const auto found_or_last = find(text + "\n*:*:*:*:last", key);
  require(found_or_last == found || (found.empty() && found_or_last == "last"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_user_list(text);
  check_pass_file(text);
  return 0;
}
