#include "protocol/saslprep.h"

#include <stringprep.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

namespace pgveil::protocol {
namespace {

// A NUL-terminated string of libidn's: wiped before it is given back.
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
    return code == range.start || code <= range.end;  // `end` is 0 where the range is one code point
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

// Prohibited in what comes out (RFC 4013, section 2.3), or unassigned in Unicode 3.2.
bool is_refused(std::uint32_t code) {
  static const Table tables[] = {
      Table(stringprep_rfc3454_C_1_2), Table(stringprep_rfc3454_C_2_1), Table(stringprep_rfc3454_C_2_2),
      Table(stringprep_rfc3454_C_3),   Table(stringprep_rfc3454_C_4),   Table(stringprep_rfc3454_C_5),
      Table(stringprep_rfc3454_C_6),   Table(stringprep_rfc3454_C_7),   Table(stringprep_rfc3454_C_8),
      Table(stringprep_rfc3454_C_9),   Table(stringprep_rfc3454_A_1)};
  return std::ranges::any_of(tables, [&](const Table& table) { return table.has(code); });
}

// RFC 3454, section 6.
bool mixes_directions(std::span<const std::uint32_t> text) {
  const auto is_right_to_left = [](std::uint32_t code) { return right_to_left().has(code); };
  if (std::ranges::none_of(text, is_right_to_left)) return false;
  if (std::ranges::any_of(text, [](std::uint32_t code) { return left_to_right().has(code); })) return true;
  return !is_right_to_left(text.front()) || !is_right_to_left(text.back());
}

// RFC 3454, section 3; answers how many are left.
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

std::optional<SecretText> prepared(std::string_view password) {
  std::size_t size = 0;
  const CodePoints mapped(
      stringprep_utf8_to_ucs4(password.data(), static_cast<ssize_t>(password.size()), &size));
  if (!mapped) return std::nullopt;  // no UTF-8

  const std::size_t kept = map_in_place({mapped.get(), size});
  const std::span text(mapped.get(), kept);
  // PostgreSQL looks at the text from before the normalization.
  if (text.empty() || std::ranges::any_of(text, is_refused) || mixes_directions(text)) return std::nullopt;

  const CodePoints normalized(stringprep_ucs4_nfkc_normalize(text.data(), static_cast<ssize_t>(text.size())));
  if (!normalized) return std::nullopt;
  const Utf8 output(stringprep_ucs4_to_utf8(normalized.get(), -1, nullptr, nullptr));
  if (!output) return std::nullopt;
  return SecretText(output.get());
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
