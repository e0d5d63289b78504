// PostgreSQL's advanced regular expressions (AREs) for RE2: translates what both can do into RE2's syntax
// with the same meaning, and refuses everything else. Source: PostgreSQL 18, src/backend/regex (regc_lex.c,
// regcomp.c), as hba.c uses it: REG_ADVANCED, collation "C", one character for each octet.
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
  // Its alternatives at the top level, in their order.
  std::vector<std::string> branches;
  // The parts of the alternative that holds the first group, if that group is at the top level and is not
  // repeated: PostgreSQL gives the part before it as much as it can take, and then the group.
  struct FirstGroup {
    std::size_t branch = 0;
    std::string before, group, after;
  };
  std::optional<FirstGroup> first_group;
  bool is_anchored = false;     // each alternative is written `^...$`
  bool has_non_greedy = false;  // a quantifier such as `*?`
};

// The error is PostgreSQL's sentence if PostgreSQL refuses the expression, too; else it says what is not
// supported.
[[nodiscard]] tl::expected<AdvancedRegex, std::string> translate_advanced_regex(std::string_view expression);

}  // namespace pgveil::protocol
