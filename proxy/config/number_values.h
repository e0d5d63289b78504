// Settings whose value is a number: integers, durations, sizes and file modes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/config/config.h"
#include "proxy/config/values.h"

namespace pgveil::proxy::values {

// The whole of `digits` as a number; nullopt: it is not one, or does not fit.
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view digits, int base = 10);

[[nodiscard]] Read<std::int64_t> read_integer(const RawValue& raw, std::int64_t min, std::int64_t max);

template <class T, std::int64_t Min, std::int64_t Max>
struct Integer {
  using Value = T;
  [[nodiscard]] static std::string type() {
    return "integer, " + std::to_string(Min) + " to " + std::to_string(Max);
  }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) {
    return read_integer(raw, Min, Max).map([](std::int64_t value) { return static_cast<Value>(value); });
  }
  [[nodiscard]] static std::string show(Value value) { return std::to_string(value); }
};

using Milliseconds = std::chrono::milliseconds;
inline constexpr std::int64_t kDay = 24LL * 60 * 60 * 1000;
// PostgreSQL's and the kernel's limit for milliseconds is that of an int; 24 days stay below it.
inline constexpr std::int64_t kLongest = 24 * kDay;

[[nodiscard]] Read<Milliseconds> read_duration(const RawValue& raw, Milliseconds min, Milliseconds max,
                                               Milliseconds step);
// In the largest unit that is exact: "500ms", "15s", "5min"; "0s".
[[nodiscard]] std::string show_duration(Milliseconds value);

// With a unit: ms, s, min, h, d. `T` says how fine: seconds take no "500ms".
template <class T, std::int64_t MinMilliseconds, std::int64_t MaxMilliseconds>
struct Duration {
  using Value = T;
  [[nodiscard]] static std::string type() {
    return "duration, " + show_duration(Milliseconds(MinMilliseconds)) + " to " +
           show_duration(Milliseconds(MaxMilliseconds));
  }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) {
    return read_duration(raw, Milliseconds(MinMilliseconds), Milliseconds(MaxMilliseconds), Value(1))
        .map([](Milliseconds value) { return std::chrono::duration_cast<Value>(value); });
  }
  [[nodiscard]] static std::string show(Value value) { return show_duration(value); }
};

// A number of events in a unit of time: "20/min", "5/s".
struct RateValue {
  using Value = Rate;
  [[nodiscard]] static std::string type() { return "rate, 1/d to 1000000/s"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// A rate, or "0" for no limit, for a setting that has a limit by default.
struct RateOrNone {
  using Value = Rate;
  [[nodiscard]] static std::string type() { return "rate, 1/d to 1000000/s, or 0"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) {
    return value.count == 0 ? "0" : RateValue::show(value);
  }
};

[[nodiscard]] Read<std::size_t> read_size(const RawValue& raw, std::size_t min, std::size_t max);
[[nodiscard]] std::string show_size(std::size_t bytes);

// With a unit: B, KiB, MiB, GiB.
template <std::size_t Min, std::size_t Max>
struct Size {
  using Value = std::size_t;
  [[nodiscard]] static std::string type() { return "size, " + show_size(Min) + " to " + show_size(Max); }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) { return read_size(raw, Min, Max); }
  [[nodiscard]] static std::string show(Value value) { return show_size(value); }
};

// Octal in quotes, as PostgreSQL writes unix_socket_permissions: "0770".
struct Permissions {
  using Value = unsigned;
  [[nodiscard]] static std::string type() { return "octal string"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(Value value);
};

}  // namespace pgveil::proxy::values
