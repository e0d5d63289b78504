// The tokens of pg_hba.conf and pg_ident.conf: what both grammars are made of. Source: PostgreSQL 18,
// src/backend/libpq/hba.c (next_token, next_field_expand, tokenize_auth_file, open_auth_file).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace pgveil::protocol {

struct AuthToken {
  std::string text;
  bool quoted = false;  // began with a quotation mark: a keyword means nothing then
};

// One record: its fields, each a list of tokens that were separated by commas.
struct AuthLine {
  std::string file;
  int line = 0;  // the first one, where it goes on over several
  std::vector<std::vector<AuthToken>> fields;
};

// What is wrong in one of these files, in PostgreSQL's style. A struct of this layer's own, as it knows nothing of settings:
// proxy/config/config_error.h makes a ConfigError of it.
struct AuthFileError {
  std::string file;
  int line = 0;  // 0: none
  std::string message;
  std::string hint;
};
using AuthFileErrors = std::vector<AuthFileError>;

// Where the files come from. The caller's, as this layer opens none.
class AuthFileSource {
 public:
  // A missing file is told from any other error, for include_if_exists.
  struct Error {
    bool is_missing = false;
    std::string text;  // such as "No such file or directory"
  };
  virtual ~AuthFileSource() = default;
  [[nodiscard]] virtual tl::expected<std::string, Error> read(const std::string& path) const = 0;
  // The names (without the directory) of what is in a directory and is no directory itself, in any order.
  [[nodiscard]] virtual tl::expected<std::vector<std::string>, Error> list(
      const std::string& directory) const = 0;
};

// Splits `text` into records, with include, include_if_exists, include_dir and `@file` followed through
// `source`, ten deep at most. `file` is its name: where records stand, and what relative paths start from.
// `first_line` is the number of its first line, for text that stands inside another file. Returns all errors at
// once.
[[nodiscard]] tl::expected<std::vector<AuthLine>, AuthFileErrors> split_auth_file(
    std::string_view text, const std::string& file, int first_line, const AuthFileSource& source);

// `text` as messages show it, with control bytes as \x00; in quotation marks.
[[nodiscard]] std::string escaped(std::string_view text);
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace pgveil::protocol
