// The tokens of pg_hba.conf and pg_ident.conf, which both grammars use. Source: PostgreSQL 18,
// src/backend/libpq/hba.c (next_token, next_field_expand, tokenize_auth_file, open_auth_file).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace pgveil::protocol {

struct AuthToken {
  std::string text;
  bool quoted = false;  // it began with a quotation mark and cannot be a keyword
};

// One record: its fields, each a list of tokens separated by commas.
struct AuthLine {
  std::string file;
  int line = 0;  // the first line of the record
  std::vector<std::vector<AuthToken>> fields;
};

// What is wrong in one of these files, in PostgreSQL's style. A struct of this layer's own, as it knows nothing of settings:
// proxy/config/config_error.h makes a ConfigError of it.
struct AuthFileError {
  std::string file;
  int line = 0;  // 0: no line
  std::string message;
  std::string hint;
};
using AuthFileErrors = std::vector<AuthFileError>;

// The source of the files. The caller implements it, because protocol/ opens no files.
class AuthFileSource {
 public:
  // An error. include_if_exists ignores a missing file, so that error is separate from all others.
  struct Error {
    bool is_missing = false;
    std::string text;  // such as "No such file or directory"
    std::string hint;  // what to do, in sentences
  };
  virtual ~AuthFileSource() = default;
  [[nodiscard]] virtual tl::expected<std::string, Error> read(const std::string& path) const = 0;
  // Returns the names (without the directory) of all entries that are not directories, in any order.
  [[nodiscard]] virtual tl::expected<std::vector<std::string>, Error> list(
      const std::string& directory) const = 0;
};

// Splits `text` into records. Follows include, include_if_exists, include_dir and `@file` through `source`,
// at most ten levels deep. `file` is the name of the text: for the positions of records, and as the base of
// relative paths. `first_line` is the number of the first line, for text that is part of another file.
// Adds all errors to `errors`. The records without an error are returned so that errors in them can be reported, too;
// after an error they must not be used for anything else.
[[nodiscard]] std::vector<AuthLine> split_auth_file(std::string_view text, const std::string& file,
                                                    int first_line, const AuthFileSource& source,
                                                    AuthFileErrors& errors);

// Returns the record for messages, on one line: fields separated by blanks, tokens by commas. A long record ends with "...".
[[nodiscard]] std::string text_of(const AuthLine& line);

// Returns `text` for messages, with control bytes as \x00; in_quotes() also adds quotation marks.
[[nodiscard]] std::string escaped(std::string_view text);
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace pgveil::protocol
