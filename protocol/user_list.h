// PgBouncer's userlist.txt (its setting auth_file): users and their secrets. Sources: PgBouncer, src/loader.c
// (load_auth_file); for the kinds of secrets PostgreSQL, src/backend/libpq/crypt.c (get_password_type).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "protocol/auth_file.h"
#include "protocol/scram.h"
#include "protocol/secret.h"

namespace pgveil::protocol {

// "md5" and 32 hexadecimal digits: a hash that SCRAM cannot use. So the hash is not kept.
struct Md5Secret {};

// A user's secret. SecretText is the password itself.
using UserSecret = std::variant<ScramSecret, SecretText, Md5Secret>;

struct UserListEntry {
  std::string user;
  UserSecret secret;
  int line = 0;
};

// Parses one user per line: `"user" "secret"`, with each quotation mark in a value doubled. The rest of a
// line is ignored; so are blank lines, and those that begin with a semicolon.
//
// PgBouncer ignores a line that it cannot read, and all lines after it; of several lines for a user it uses
// the last. Here these are errors. So are an empty name or secret (PgBouncer: a user without a password), a
// name that the server would truncate, a value that does not end on its line, and a secret that begins as a
// SCRAM secret and is not a valid one.
//
// Returns all errors at once. They contain nothing of the text: with a missing or an additional quotation
// mark, what looks like a name can be a secret. The caller must wipe the text.
[[nodiscard]] tl::expected<std::vector<UserListEntry>, AuthFileErrors> parse_user_list(
    std::string_view text, const std::string& file);

}  // namespace pgveil::protocol
