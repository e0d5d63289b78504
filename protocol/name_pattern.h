// A regular expression for names in pg_hba.conf and pg_ident.conf: a token that begins with `/`. RE2
// evaluates it, in time linear in the name, because any owner of a certificate can choose the name. It has
// the same meaning as in PostgreSQL, or is refused (protocol/advanced_regex.h); docs/access-rules.md lists
// what is refused.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace re2 {
class RE2;
}

namespace pgveil::protocol {

// The hint for an expression that does not compile.
inline constexpr const char* kRewritePattern =
    "Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported.";
// The hint for one of several names separated by commas, if none of them is quoted.
inline constexpr const char* kQuotePattern =
    "Put a regular expression that contains a comma in quotation marks.";

class NamePattern {
 public:
  // Compiles `expression`, given without its slash. The error describes what is wrong with it.
  [[nodiscard]] static tl::expected<NamePattern, std::string> compile(std::string_view expression);

  // Returns whether it matches anywhere in `name`. As in PostgreSQL it need not match the whole name.
  [[nodiscard]] bool is_in(std::string_view name) const;

  // The text of the first group in `name`. Empty if the group did not take part in the match (as in
  // `^a|^(b)`), if can_tell_first_group() is false, or if `name` has more than 4096 bytes.
  struct Found {
    std::optional<std::string> first_group;
  };
  [[nodiscard]] std::optional<Found> find_in(std::string_view name) const;

  [[nodiscard]] bool has_group() const;
  // Returns whether each alternative is written `^...$`. An alternative with its anchors inside a group
  // counts as not anchored.
  [[nodiscard]] bool is_anchored() const { return is_anchored_; }

  // Returns whether find_in() finds the same first group as PostgreSQL: the group is at the top level and not
  // repeated, and no quantifier is non-greedy, such as `*?`.
  [[nodiscard]] bool can_tell_first_group() const { return parts_ != nullptr; }

  NamePattern(NamePattern&&) noexcept;
  NamePattern& operator=(NamePattern&&) noexcept;
  ~NamePattern();

 private:
  struct Parts;
  NamePattern();

  std::unique_ptr<const re2::RE2> compiled_;
  std::unique_ptr<const Parts> parts_;  // null unless can_tell_first_group()
  bool is_anchored_ = false;
};

}  // namespace pgveil::protocol
