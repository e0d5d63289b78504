// A regular expression over the names in pg_hba.conf and pg_ident.conf, where a token begins with `/`. RE2
// runs it, in time linear in the name, which may come from any owner of a certificate. It means what it
// means to PostgreSQL, or is refused (protocol/advanced_regex.h); docs/access-rules.md lists what is refused.
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

// What to do about an expression that does not compile, for messages.
inline constexpr const char* kRewritePattern =
    "Correct it. docs/access-rules.md lists the parts of PostgreSQL's regular expressions that are supported.";
// The same for one of several names with commas between them, none of which is quoted.
inline constexpr const char* kQuotePattern =
    "Put a regular expression that contains a comma in quotation marks.";

class NamePattern {
 public:
  // `expression` without its slash. The error says what is wrong with it.
  [[nodiscard]] static tl::expected<NamePattern, std::string> compile(std::string_view expression);

  // Whether it matches anywhere in `name`: as in PostgreSQL it need not match the whole.
  [[nodiscard]] bool is_in(std::string_view name) const;

  // What its first group has taken out of `name`; none if it took no part, as in `^a|^(b)`, if
  // can_tell_first_group() is false, or if `name` has more than 4096 bytes.
  struct Found {
    std::optional<std::string> first_group;
  };
  [[nodiscard]] std::optional<Found> find_in(std::string_view name) const;

  [[nodiscard]] bool has_group() const;
  // Whether each of its alternatives is written `^...$`. One that hides its anchors in a group counts as not
  // anchored.
  [[nodiscard]] bool is_anchored() const { return is_anchored_; }

  // Whether find_in() finds the first group that PostgreSQL would: it is at the top level and is not
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
