// pg_ident.conf: which system user (the name in a certificate, or of the process at the other end of a Unix
// socket) may be which database user. The grammar and the matching of PostgreSQL 18 (src/backend/libpq/hba.c:
// parse_ident_line, check_ident_usermap, check_usermap).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/auth_file.h"

namespace pgveil::protocol {

class IdentMap {
 public:
  // All errors at once. No line at all is a map that maps nothing.
  [[nodiscard]] static tl::expected<IdentMap, AuthFileErrors> parse(const std::vector<AuthLine>& lines);

  struct Match {
    std::string file;  // where the line stands that says so; empty without a map
    int line = 0;
    std::string system_user;  // the one that was mapped
    std::string database_user;
  };

  // Whether one of `system_users` may be `database_user`: the first line of `map` that says so, each line
  // asked for every name in turn. An empty `map` means that names must be equal, octet for octet. A name that
  // is empty or holds a NUL or another control byte maps to nothing.
  [[nodiscard]] std::optional<Match> check(std::string_view map, const std::vector<std::string>& system_users,
                                           std::string_view database_user) const;

  // For assign=1: the database user of the first line of `map` whose system user is one of `system_users`. A
  // line for `all` or for a regular expression gives `asked_user`, where that may be. An empty `map` gives
  // the system user itself (the first that is usable). Never an empty name, nor one that the server would
  // cut.
  [[nodiscard]] std::optional<Match> assign(std::string_view map,
                                            const std::vector<std::string>& system_users,
                                            std::string_view asked_user) const;

  // Whether some line belongs to `map`: a rule that names another would let nobody in.
  [[nodiscard]] bool has_map(std::string_view map) const;

  [[nodiscard]] std::set<std::string> maps() const;  // their names

  // What works, but hardly as meant: a regular expression that is not anchored at both ends, a `\1` without
  // one, words after the third. In the order of the lines.
  [[nodiscard]] const AuthFileErrors& warnings() const;

  IdentMap();
  IdentMap(IdentMap&&) noexcept;
  IdentMap& operator=(IdentMap&&) noexcept;
  ~IdentMap();

 private:
  struct Line;
  std::vector<Line> lines_;
  AuthFileErrors warnings_;
};

}  // namespace pgveil::protocol
