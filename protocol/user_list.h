// PgBouncer's userlist.txt (its setting auth_file): users, and what each proves itself with. Sources:
// PgBouncer, src/loader.c (load_auth_file); for the kinds of secrets PostgreSQL, src/backend/libpq/crypt.c
// (get_password_type).
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

// "md5" and 32 hexadecimal digits: a hash that no SCRAM exchange can do anything with. So it is not kept.
struct Md5Secret {};

// SecretText: the password itself.
using UserSecret = std::variant<ScramSecret, SecretText, Md5Secret>;

struct UserListEntry {
  std::string user;
  UserSecret secret;
  int line = 0;
};

// Reads a line for each user: `"user" "secret"`, with each quotation mark in a value doubled. What stands
// after them is ignored; so are blank lines, and those that begin with a semicolon.
//
// At a line that it cannot read, PgBouncer leaves out that line and all after it; of several for a user it
// takes the last. Here these are errors, and so are an empty name or secret (PgBouncer: a user without a
// password), a name that the server would cut, a value that does not end on its line, and a secret that
// begins as one of SCRAM but is none.
//
// All errors at once. They show nothing of the text: where a quotation mark is missing or one too many,
// what looks like a name holds a secret. The text is the caller's to wipe.
[[nodiscard]] tl::expected<std::vector<UserListEntry>, AuthFileErrors> parse_user_list(
    std::string_view text, const std::string& file);

}  // namespace pgveil::protocol
