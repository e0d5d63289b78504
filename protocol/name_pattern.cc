#include "protocol/name_pattern.h"

#include <re2/re2.h>

#include <utility>
#include <vector>

#include "protocol/advanced_regex.h"

namespace pgveil::protocol {
namespace {

using re2::RE2;

// The maximum size of a name whose first group is extracted, because Parts::find_in() takes time quadratic in
// the size. A URI in a certificate and a name of a user are far shorter.
constexpr std::size_t kMaxDissectedBytes = 4096;

// The expressions match bytes, not characters, as in PostgreSQL: the rules are evaluated before a database is
// open, so there is no encoding. In RE2's UTF-8 mode no expression matches a name that is not valid UTF-8. In
// UTF-8 a letter that is not in ASCII has several bytes: `.` matches one of them, and `.+` or `[^,]+` all.
RE2::Options byte_options() {
  RE2::Options options;
  options.set_encoding(RE2::Options::EncodingLatin1);
  options.set_longest_match(true);  // as in POSIX and PostgreSQL
  options.set_log_errors(false);
  return options;
}

// Returns RE2's own type of view. Newer versions use Abseil's, which may differ from std::string_view.
re2::StringPiece view(std::string_view text) {
  return {text.data(), text.size()};
}

std::unique_ptr<const RE2> compiled(const std::string& expression) {
  return std::make_unique<const RE2>(expression, byte_options());
}

// Returns whether `part` matches all of `name` from `begin` to `end`.
bool covers(const RE2& part, std::string_view name, std::size_t begin, std::size_t end) {
  return part.Match(view(name), begin, end, RE2::ANCHOR_BOTH, nullptr, 0);
}

}  // namespace

// Finds the first group as PostgreSQL does (regexec.c: cdissect): it takes the first alternative that matches
// the whole match, then makes the part before the group as long as possible, and then the group.
struct NamePattern::Parts {
  std::vector<std::unique_ptr<const RE2>> branches;  // up to the branch with the group
  std::unique_ptr<const RE2> before, group, after, from_group;

  // Returns the first group in the match from `begin` to `end`; nullopt: the group did not take part in the
  // match.
  [[nodiscard]] std::optional<std::string_view> find_in(std::string_view name, std::size_t begin,
                                                        std::size_t end) const {
    for (const auto& branch : branches)
      if (&branch != &branches.back() && covers(*branch, name, begin, end)) return std::nullopt;
    for (std::size_t first = end + 1; first-- > begin;) {
      if (!covers(*before, name, begin, first) || !covers(*from_group, name, first, end)) continue;
      for (std::size_t last = end + 1; last-- > first;)
        if (covers(*group, name, first, last) && covers(*after, name, last, end))
          return name.substr(first, last - first);
    }
    return std::nullopt;
  }
};

tl::expected<NamePattern, std::string> NamePattern::compile(std::string_view expression) {
  auto translated = translate_advanced_regex(expression);
  if (!translated) return tl::unexpected(std::move(translated).error());
  NamePattern pattern;
  pattern.compiled_ = compiled(translated->re2);
  if (!pattern.compiled_->ok()) return tl::unexpected(pattern.compiled_->error());
  pattern.is_anchored_ = translated->is_anchored;
  if (const auto& first = translated->first_group; first && !translated->has_non_greedy) {
    auto parts = std::make_unique<Parts>();
    for (std::size_t branch = 0; branch <= first->branch; ++branch)
      parts->branches.push_back(compiled(translated->branches[branch]));
    parts->before = compiled(first->before);
    parts->group = compiled(first->group);
    parts->after = compiled(first->after);
    parts->from_group = compiled(first->group + first->after);
    pattern.parts_ = std::move(parts);
  }
  return pattern;
}

bool NamePattern::is_in(std::string_view name) const {
  return compiled_->Match(view(name), 0, name.size(), RE2::UNANCHORED, nullptr, 0);
}

std::optional<NamePattern::Found> NamePattern::find_in(std::string_view name) const {
  re2::StringPiece whole;
  if (!compiled_->Match(view(name), 0, name.size(), RE2::UNANCHORED, &whole, 1)) return std::nullopt;
  if (parts_ == nullptr || name.size() > kMaxDissectedBytes) return Found{};
  const auto begin = static_cast<std::size_t>(whole.data() - name.data());
  const auto group = parts_->find_in(name, begin, begin + whole.size());
  return group ? Found{.first_group = std::string(*group)} : Found{};
}

bool NamePattern::has_group() const {
  return compiled_->NumberOfCapturingGroups() > 0;
}

NamePattern::NamePattern() = default;
NamePattern::NamePattern(NamePattern&&) noexcept = default;
NamePattern& NamePattern::operator=(NamePattern&&) noexcept = default;
NamePattern::~NamePattern() = default;

}  // namespace pgveil::protocol
