#include "protocol/saslprep.h"

#include <stringprep.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace pgveil::protocol {
namespace {

// A deleter for a NUL-terminated string of libidn, which wipes the string before it is freed.
template <class Unit>
struct Wiped {
  void operator()(Unit* text) const noexcept {
    Unit* end = text;
    while (*end != 0) ++end;
    explicit_bzero(text, static_cast<std::size_t>(end - text) * sizeof(Unit));
    std::free(text);
  }
};
using CodePoints = std::unique_ptr<std::uint32_t, Wiped<std::uint32_t>>;
using Utf8 = std::unique_ptr<char, Wiped<char>>;

// A table of RFC 3454: ascending ranges of code points.
class Table {
 public:
  explicit Table(const Stringprep_table_element* first) : first_(first), last_(first) {
    while (last_->start != 0 || last_->end != 0) ++last_;
  }

  [[nodiscard]] bool has(std::uint32_t code) const {
    const auto* behind = std::upper_bound(
        first_, last_, code, [](std::uint32_t wanted, const auto& range) { return wanted < range.start; });
    if (behind == first_) return false;
    const auto& range = behind[-1];
    return code == range.start || code <= range.end;  // `end` is 0 for a range of one code point
  }

 private:
  const Stringprep_table_element* first_;
  const Stringprep_table_element* last_;
};

const Table& non_ascii_spaces() {
  static const Table table(stringprep_rfc3454_C_1_2);
  return table;
}
const Table& mapped_to_nothing() {
  static const Table table(stringprep_rfc3454_B_1);
  return table;
}
const Table& right_to_left() {
  static const Table table(stringprep_rfc3454_D_1);
  return table;
}
const Table& left_to_right() {
  static const Table table(stringprep_rfc3454_D_2);
  return table;
}

// Returns whether a character is prohibited in the output (RFC 4013, section 2.3), or unassigned in Unicode
// 3.2.
bool is_refused(std::uint32_t code) {
  static const Table tables[] = {
      Table(stringprep_rfc3454_C_1_2), Table(stringprep_rfc3454_C_2_1), Table(stringprep_rfc3454_C_2_2),
      Table(stringprep_rfc3454_C_3),   Table(stringprep_rfc3454_C_4),   Table(stringprep_rfc3454_C_5),
      Table(stringprep_rfc3454_C_6),   Table(stringprep_rfc3454_C_7),   Table(stringprep_rfc3454_C_8),
      Table(stringprep_rfc3454_C_9),   Table(stringprep_rfc3454_A_1)};
  return std::ranges::any_of(tables, [&](const Table& table) { return table.has(code); });
}

// Returns whether the text violates the rules for bidirectional text (RFC 3454, section 6).
bool mixes_directions(std::span<const std::uint32_t> text) {
  const auto is_right_to_left = [](std::uint32_t code) { return right_to_left().has(code); };
  if (std::ranges::none_of(text, is_right_to_left)) return false;
  if (std::ranges::any_of(text, [](std::uint32_t code) { return left_to_right().has(code); })) return true;
  return !is_right_to_left(text.front()) || !is_right_to_left(text.back());
}

// Maps characters (RFC 3454, section 3); returns how many are left.
std::size_t map_in_place(std::span<std::uint32_t> text) {
  std::size_t size = 0;
  for (const std::uint32_t code : text) {
    if (non_ascii_spaces().has(code)) {
      text[size++] = ' ';
    } else if (!mapped_to_nothing().has(code)) {
      text[size++] = code;
    }
  }
  return size;
}

// Applies Corrigendum 4: Unicode 3.2 has wrong mappings for five compatibility characters.
std::uint32_t corrected(std::uint32_t code) {
  switch (code) {
    case 0x2f868: return 0x36fc;
    case 0x2f874: return 0x5f53;
    case 0x2f91f: return 0x243ab;
    case 0x2f95f: return 0x7aee;
    case 0x2f9bf: return 0x45d7;
    default: return code;
  }
}

// Returns whether a character can be composed with a character before it, although it is not a combining
// mark: vowel signs of India, vowels and final consonants of Korea, and their equivalents.
bool is_composed_with_previous(std::uint32_t code) {
  constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 17> kRanges{{{0x09be, 0x09be},
                                                                             {0x09d7, 0x09d7},
                                                                             {0x0b3e, 0x0b3e},
                                                                             {0x0b56, 0x0b57},
                                                                             {0x0bbe, 0x0bbe},
                                                                             {0x0bd7, 0x0bd7},
                                                                             {0x0cc2, 0x0cc2},
                                                                             {0x0cd5, 0x0cd6},
                                                                             {0x0d3e, 0x0d3e},
                                                                             {0x0d57, 0x0d57},
                                                                             {0x0dcf, 0x0dcf},
                                                                             {0x0ddf, 0x0ddf},
                                                                             {0x102e, 0x102e},
                                                                             {0x1161, 0x1175},
                                                                             {0x11a8, 0x11c2},
                                                                             {0x3131, 0x318e},
                                                                             {0xffa0, 0xffdc}}};
  return std::ranges::any_of(
      kRanges, [code](const auto& range) { return range.first <= code && code <= range.second; });
}

// Returns whether a character has a combining class. libidn has no query for it, but it sorts such a
// character before the character with the highest class.
bool is_combining_mark(std::uint32_t code) {
  constexpr std::uint32_t kHighestClass = 0x0345;
  const std::array<std::uint32_t, 2> pair{kHighestClass, code};
  const CodePoints sorted(stringprep_ucs4_nfkc_normalize(pair.data(), pair.size()));
  return code == kHighestClass || (sorted && *sorted != kHighestClass);
}

// Applies Corrigendum 5: a character is not composed with another one if a combining mark is between them.
// libidn must then see the second character as the begin of another text. Returns how much of `text` libidn
// may see at once.
std::size_t size_to_normalize(std::span<const std::uint32_t> text) {
  for (std::size_t i = 1; i < text.size(); ++i)
    if (is_composed_with_previous(text[i]) && is_combining_mark(text[i - 1])) return i;
  return text.size();
}

std::optional<SecretText> normalized(std::span<std::uint32_t> text) {
  std::ranges::transform(text, text.begin(), corrected);
  std::vector<Utf8> parts;
  std::size_t size = 0;
  while (!text.empty()) {
    const auto taken = size_to_normalize(text);
    const CodePoints part(stringprep_ucs4_nfkc_normalize(text.data(), static_cast<ssize_t>(taken)));
    if (!part) return std::nullopt;
    Utf8 output(stringprep_ucs4_to_utf8(part.get(), -1, nullptr, nullptr));
    if (!output) return std::nullopt;
    size += std::strlen(output.get());
    parts.push_back(std::move(output));
    text = text.subspan(taken);
  }
  std::vector<char> whole;
  whole.reserve(size);  // a reallocation would leave a copy in memory
  for (const auto& part : parts) whole.insert(whole.end(), part.get(), part.get() + std::strlen(part.get()));
  return SecretText(std::move(whole));
}

std::optional<SecretText> prepared(std::string_view password) {
  std::size_t size = 0;
  const CodePoints mapped(
      stringprep_utf8_to_ucs4(password.data(), static_cast<ssize_t>(password.size()), &size));
  if (!mapped) return std::nullopt;  // not UTF-8

  const std::size_t kept = map_in_place({mapped.get(), size});
  const std::span text(mapped.get(), kept);
  // PostgreSQL checks the text before the normalization.
  if (text.empty() || std::ranges::any_of(text, is_refused) || mixes_directions(text)) return std::nullopt;

  return normalized(text);
}

}  // namespace

SecretText saslprep(std::string_view password) {
  const auto is_ascii = [](char character) { return static_cast<unsigned char>(character) < 0x80; };
  if (!std::ranges::all_of(password, is_ascii)) {
    if (auto text = prepared(password)) return std::move(*text);
  }
  return SecretText(password);
}

}  // namespace pgveil::protocol
