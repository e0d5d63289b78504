#include "proxy/config/values.h"

#include <strings.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace pgveil::proxy::values {
namespace {

using Kind = RawValue::Kind;

std::string listed(const std::vector<std::string_view>& words, std::string_view quote,
                   std::string_view before_last) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? before_last : ", ";
    text.append(quote).append(words[i]).append(quote);
  }
  return text;
}

// Insertions, deletions, substitutions and swaps of neighbours ("optimal string alignment").
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const bool is_same = a[i - 1] == b[j - 1];
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (is_same ? 0 : 1)});
      const bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (is_swap) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

tl::unexpected<ConfigError> invalid(std::string message, std::string hint) {
  return tl::unexpected(value_error(std::move(message), std::move(hint)));
}

std::string one_of(const std::vector<std::string_view>& words, std::string_view quote) {
  return listed(words, quote, " or ");
}

std::string all_of(const std::vector<std::string_view>& words) {
  return listed(words, "", " and ");
}

Read<std::string> read_text(const RawValue& raw) {
  if (raw.kind == Kind::list)
    return invalid("requires a string",
                   "Write one string in quotes, without brackets. A list has commas: \"a,b\".");
  if (raw.kind != Kind::text && raw.kind != Kind::untyped)
    return invalid("requires a string", "Write the value in quotes.");
  if (raw.text.empty()) return invalid("must not be empty", "Set a value, or remove the setting.");
  if (raw.text.find('\0') != std::string::npos) return invalid("contains a NUL byte", "Remove it.");
  return raw.text;
}

Read<std::string> Text::read(const RawValue& raw) {
  return read_text(raw);
}

Read<bool> Boolean::read(const RawValue& raw) {
  if (raw.kind == Kind::boolean) return raw.text == "true";
  if (raw.kind != Kind::untyped)
    return invalid("requires a Boolean value", "Write true or false, without quotes.");
  for (const char* word : {"true", "on", "yes", "1"})
    if (strcasecmp(raw.text.c_str(), word) == 0) return true;
  for (const char* word : {"false", "off", "no", "0"})
    if (strcasecmp(raw.text.c_str(), word) == 0) return false;
  return invalid("invalid Boolean value " + in_quotes(raw.text), "Use true or false.");
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates) {
  std::string_view best;
  // Of a short word, two changes leave nothing that is like it.
  std::size_t best_distance = std::max<std::size_t>(word.size() < 4 ? 1 : 2, word.size() / 4) + 1;
  for (const auto candidate : candidates) {
    const auto distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word) {
  return "Did you mean " + in_quotes(word) + '?';
}

}  // namespace pgveil::proxy::values
