// A regular expression over the names in pg_hba.conf and pg_ident.conf, where a token begins with `/`. RE2
// runs it, in time linear in the name, which may come from whoever asked for a certificate. Its dialect
// differs from PostgreSQL's: docs/access-rules.md.
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
    "Rewrite it: the regular expressions are RE2's, which have no back references and no lookaround.";

class NamePattern {
 public:
  // `expression` without its slash. The error is in RE2's words.
  [[nodiscard]] static tl::expected<NamePattern, std::string> compile(std::string_view expression);

  // Whether it matches anywhere in `name`: as in PostgreSQL it need not match the whole.
  [[nodiscard]] bool is_in(std::string_view name) const;

  // What its first group has taken out of `name`; none where it took no part, as in `^a|^(b)`.
  struct Found {
    std::optional<std::string> first_group;
  };
  [[nodiscard]] std::optional<Found> find_in(std::string_view name) const;

  [[nodiscard]] bool has_group() const;
  // Whether each of its alternatives is written `^...$`. One that hides its anchors in a group counts as not
  // anchored.
  [[nodiscard]] bool is_anchored() const { return is_anchored_; }

  NamePattern(NamePattern&&) noexcept;
  NamePattern& operator=(NamePattern&&) noexcept;
  ~NamePattern();

 private:
  NamePattern(std::unique_ptr<const re2::RE2> compiled, bool is_anchored);

  std::unique_ptr<const re2::RE2> compiled_;
  bool is_anchored_;
};

}  // namespace pgveil::protocol
