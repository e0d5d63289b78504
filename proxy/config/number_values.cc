#include "proxy/config/number_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <system_error>
#include <utility>

namespace pgveil::proxy::values {
namespace {

using Kind = RawValue::Kind;

// A number and its unit. Either may be empty.
std::pair<std::string_view, std::string_view> split_unit(std::string_view text) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  return {text.substr(0, digits), text.substr(digits)};
}

struct Unit {
  std::string_view name;
  std::int64_t factor;
};
constexpr std::array kTimeUnits{Unit{"d", kDay}, Unit{"h", 3'600'000}, Unit{"min", 60'000}, Unit{"s", 1000},
                                Unit{"ms", 1}};
constexpr std::array kSizeUnits{Unit{"GiB", 1 << 30}, Unit{"MiB", 1 << 20}, Unit{"KiB", 1 << 10},
                                Unit{"B", 1}};

// The number in the base unit, or nullopt if the number or the unit is not valid.
template <class Units>
std::optional<std::int64_t> parse_with_unit(std::string_view text, const Units& units) {
  const auto [digits, name] = split_unit(text);
  const auto number = parse_integer(digits);
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    if (*number > std::numeric_limits<std::int64_t>::max() / unit.factor)
      return std::numeric_limits<std::int64_t>::max();  // above every bound
    return *number * unit.factor;
  }
  return std::nullopt;
}

template <class Units>
std::string show_with_unit(std::int64_t value, std::string_view of_zero, const Units& units) {
  if (value == 0) return "0" + std::string(of_zero);
  for (const Unit& unit : units)
    if (value % unit.factor == 0) return std::to_string(value / unit.factor) + std::string(unit.name);
  return "";
}

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view digits, int base) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Read<std::int64_t> read_integer(const RawValue& raw, std::int64_t min, std::int64_t max) {
  const std::string range = std::to_string(min) + " to " + std::to_string(max);
  if (raw.kind != Kind::integer && raw.kind != Kind::untyped)
    return invalid("requires an integer", "Write a number from " + range + ", without quotes.");
  const auto value = parse_integer(raw.text);
  if (!value) return invalid("invalid integer " + in_quotes(raw.text), "Use a number from " + range + ".");
  if (*value < min || *value > max)
    return invalid(raw.text + " is out of range", "Use a number from " + range + ".");
  return *value;
}

Read<Milliseconds> read_duration(const RawValue& raw, Milliseconds min, Milliseconds max, Milliseconds step) {
  if (const bool bare = !raw.text.empty() && split_unit(raw.text).second.empty(); bare)
    return invalid(
        "duration " + in_quotes(raw.text) + " has no unit",
        "Write " + in_quotes(raw.text + "s") + " for seconds. The other units are ms, min, h and d.");
  const auto text = read_text(raw);
  if (!text)
    return invalid("requires a duration", R"(Write a number and its unit in quotes, such as "15s".)");
  const auto value = parse_with_unit(*text, kTimeUnits);
  if (!value)
    return invalid("invalid duration " + in_quotes(*text),
                   R"(Write a whole number and one of the units ms, s, min, h and d, such as "15s".)");
  if (*value < min.count() || *value > max.count())
    return invalid("duration " + in_quotes(*text) + " is out of range",
                   "Use a duration from " + in_quotes(show_duration(min)) + " to " +
                       in_quotes(show_duration(max)) + ".");
  if (*value % step.count() != 0)
    return invalid("duration " + in_quotes(*text) + " is not a whole number of seconds",
                   "Use whole seconds.");
  return Milliseconds(*value);
}

std::string show_duration(Milliseconds value) {
  return show_with_unit(value.count(), "s", kTimeUnits);
}

Read<Rate> RateValue::read(const RawValue& raw) {
  constexpr std::int64_t kMaxCount = 1'000'000;
  const auto text = read_text(raw);
  if (!text)
    return invalid("requires a rate", R"(Write a number and a unit of time in quotes, such as "20/min".)");
  const auto slash = std::min(text->find('/'), text->size());
  const auto count = parse_integer(std::string_view(*text).substr(0, slash));
  const auto* const unit = std::ranges::find(
      kTimeUnits, std::string_view(*text).substr(slash == text->size() ? slash : slash + 1), &Unit::name);
  if (!count || unit == kTimeUnits.end() || unit->name == "ms")
    return invalid("invalid rate " + in_quotes(*text),
                   R"(Write a number, "/" and one of the units s, min, h and d, such as "20/min".)");
  if (*count < 1 || *count > kMaxCount)
    return invalid("rate " + in_quotes(*text) + " is out of range",
                   "Use a number from 1 to " + std::to_string(kMaxCount) + '.');
  return Rate{.count = static_cast<unsigned>(*count), .interval = Milliseconds(unit->factor)};
}

std::string RateValue::show(const Rate& value) {
  if (value.count == 0) return "";
  const auto* const unit = std::ranges::find(kTimeUnits, value.interval.count(), &Unit::factor);
  return std::to_string(value.count) + '/' + std::string(unit->name);
}

Read<Rate> RateOrNone::read(const RawValue& raw) {
  const bool may_be_zero = raw.kind == Kind::integer || raw.kind == Kind::text || raw.kind == Kind::untyped;
  return may_be_zero && raw.text == "0" ? Rate{} : RateValue::read(raw);
}

Read<std::size_t> read_size(const RawValue& raw, std::size_t min, std::size_t max) {
  if (const bool bare = !raw.text.empty() && split_unit(raw.text).second.empty(); bare)
    return invalid(
        "size " + in_quotes(raw.text) + " has no unit",
        "Write " + in_quotes(raw.text + "B") + " for bytes. The other units are KiB, MiB and GiB.");
  const auto text = read_text(raw);
  if (!text) return invalid("requires a size", R"(Write a number and its unit in quotes, such as "64KiB".)");
  const auto value = parse_with_unit(*text, kSizeUnits);
  if (!value)
    return invalid("invalid size " + in_quotes(*text),
                   R"(Write a whole number and one of the units B, KiB, MiB and GiB, such as "64KiB".)");
  if (std::cmp_less(*value, min) || std::cmp_greater(*value, max))
    return invalid("size " + in_quotes(*text) + " is out of range",
                   "Use a size from " + in_quotes(show_size(min)) + " to " + in_quotes(show_size(max)) + ".");
  return static_cast<std::size_t>(*value);
}

std::string show_size(std::size_t bytes) {
  return show_with_unit(static_cast<std::int64_t>(bytes), "B", kSizeUnits);
}

Read<unsigned> Permissions::read(const RawValue& raw) {
  const auto text = read_text(raw);
  const auto value = text ? parse_integer(*text, 8) : std::nullopt;
  if (!value || *value < 0 || *value > 0777)
    return invalid(text ? "invalid file mode " + in_quotes(*text) : "requires a file mode",
                   R"(Write an octal number in quotes, such as "0770".)");
  return static_cast<unsigned>(*value);
}

std::string Permissions::show(unsigned value) {
  std::string octal = "0";
  for (const int shift : {6, 3, 0}) octal += static_cast<char>('0' + ((value >> shift) & 7U));
  return octal;
}

}  // namespace pgveil::proxy::values
