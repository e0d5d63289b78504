// libpq's password file (~/.pgpass; the connection parameter passfile). Source: PostgreSQL,
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
  // The key for a look-up: the values as configured, not as resolved.
  struct Key {
    // `host`, or `hostaddr` if there is no host. Empty: "localhost". libpq uses "localhost" also for its
    // default directory of Unix sockets (Debian: /var/run/postgresql), and any other directory unchanged. The
    // caller must replace the default directory, which protocol/ does not know.
    std::string_view host;
    std::string_view port;  // in decimal
    std::string_view database;
    std::string_view user;
  };

  // Parses one password per line, `host:port:database:user:password`. `*` alone in one of the first four
  // fields matches anything. A backslash escapes the byte after it, also in the password. A line that begins
  // with `#` is a comment.
  //
  // libpq ignores a line that has fewer fields, or an empty field before the password, which matches nothing.
  // It ends a password at a colon without a backslash, and ignores the rest. Here these are errors, because
  // with each of them a login fails without an explanation. Returns all errors at once. They contain
  // nothing of the text, which the caller must wipe.
  [[nodiscard]] static tl::expected<PassFile, AuthFileErrors> parse(std::string_view text,
                                                                    const std::string& file);

  // Returns the password of the first line that matches; nullptr: no line matches, or its password is empty,
  // which libpq treats as no password, and ends the search. An empty database or user never matches.
  [[nodiscard]] const SecretText* find(const Key& key) const;

 private:
  static constexpr std::size_t kKeyFields = 4;
  using Field = std::optional<std::string>;  // nullopt: matches anything

  struct Entry {
    std::array<Field, kKeyFields> fields;  // in the order of the line
    SecretText password;
  };
  class Reader;

  std::vector<Entry> entries_;
};

}  // namespace pgveil::protocol
