// pg_ident.conf: the mapping of system users (a name in a certificate, or the user of the process at the
// other end of a Unix socket) to database users. The grammar and the matching are those of PostgreSQL 18
// (src/backend/libpq/hba.c: parse_ident_line, check_ident_usermap, check_usermap).
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
  // Parses the lines. Returns all errors at once. Without any line the result maps nothing.
  [[nodiscard]] static tl::expected<IdentMap, AuthFileErrors> parse(const std::vector<AuthLine>& lines);

  struct Match {
    std::string file;  // the position of the matching line; empty without a map
    int line = 0;
    std::string system_user;  // the system user that was mapped
    std::string database_user;
  };

  // Returns the first line of `map` that maps one of `system_users` to `database_user`. Each line is compared
  // with every name. With an empty `map` the names must be equal, byte for byte. A name that is empty, or
  // contains a NUL or another control byte, never matches.
  [[nodiscard]] std::optional<Match> check(std::string_view map, const std::vector<std::string>& system_users,
                                           std::string_view database_user) const;

  // Returns for assign=1 the database user of the first line of `map` whose system user is one of
  // `system_users`. A line for `all` or for a regular expression gives `asked_user`, if the line allows it.
  // An empty `map` gives the system user itself (the first valid one). Never returns an empty name, or one
  // that the server would truncate.
  [[nodiscard]] std::optional<Match> assign(std::string_view map,
                                            const std::vector<std::string>& system_users,
                                            std::string_view asked_user) const;

  // Returns whether any line belongs to `map`. A rule with any other map would admit no client.
  [[nodiscard]] bool has_map(std::string_view map) const;

  [[nodiscard]] std::set<std::string> maps() const;  // the names of the maps

  // Lines that are valid, but probably not meant: a regular expression that is not anchored at both ends, a
  // `\1` without a regular expression, words after the third. They are in the order of the lines.
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
