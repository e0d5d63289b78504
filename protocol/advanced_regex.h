// PostgreSQL's advanced regular expressions (AREs) for RE2. Expressions that have the same meaning in both
// are translated into RE2's syntax; all others are refused. Source: PostgreSQL 18, src/backend/regex
// (regc_lex.c, regcomp.c), as hba.c uses it: REG_ADVANCED, collation "C", one character for each byte.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace pgveil::protocol {

struct AdvancedRegex {
  std::string re2;  // the whole expression
  // The alternatives at the top level, in their order.
  std::vector<std::string> branches;
  // The parts of the alternative that contains the first group, if that group is at the top level and is not
  // repeated. PostgreSQL first makes the part before the group as long as possible, and then the group.
  struct FirstGroup {
    std::size_t branch = 0;
    std::string before, group, after;
  };
  std::optional<FirstGroup> first_group;
  bool is_anchored = false;     // each alternative is written `^...$`
  bool has_non_greedy = false;  // there is a quantifier such as `*?`
};

// Translates the expression. The error is PostgreSQL's message if PostgreSQL also refuses the expression.
// Otherwise it says what is not supported.
[[nodiscard]] tl::expected<AdvancedRegex, std::string> translate_advanced_regex(std::string_view expression);

}  // namespace pgveil::protocol
