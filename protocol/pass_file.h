// libpq's password file (~/.pgpass; its parameter passfile). Source: PostgreSQL,
// src/interfaces/libpq/fe-connect.c (passwordFromFile).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/auth_file.h"
#include "protocol/secret.h"

namespace pgveil::protocol {

class PassFile {
 public:
  // What a connection is looked up by: as it was configured, not as it was resolved.
  struct Key {
    // `host`, or where there is none `hostaddr`. Empty: "localhost". libpq looks up its default directory of
    // Unix sockets (Debian: /var/run/postgresql) as "localhost", too, and any other as it stands; which one
    // that is, the caller knows and this layer does not.
    std::string_view host;
    std::string_view port;  // in decimal
    std::string_view database;
    std::string_view user;
  };

  // Reads a line for each password, `host:port:database:user:password`. `*` alone in one of the first four
  // matches anything; a backslash takes the byte after it as it is, in the password too; a line that begins
  // with `#` is a comment.
  //
  // libpq passes over a line that has fewer fields, or an empty one before the password, which nothing
  // matches; and it ends a password at a colon without a backslash, whatever follows. Here these are
  // errors: each keeps somebody out without a word. All errors at once; they show nothing of the text,
  // which is the caller's to wipe.
  [[nodiscard]] static tl::expected<PassFile, AuthFileErrors> parse(std::string_view text,
                                                                    const std::string& file);

  // The password of the first line that matches. nullptr: no line matches, or that one has an empty password,
  // which is none to libpq, and ends the search. Nothing matches an empty database or user.
  [[nodiscard]] const SecretText* find(const Key& key) const;

 private:
  static constexpr std::size_t kKeyFields = 4;
  using Field = std::optional<std::string>;  // nullopt: anything

  struct Entry {
    std::array<Field, kKeyFields> fields;  // in the order of the line
    SecretText password;
  };
  class Reader;

  std::vector<Entry> entries_;
};

}  // namespace pgveil::protocol
