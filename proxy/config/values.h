// What can stand for a setting, and how each kind of value is read from text and shown as text. Shared by
// TOML, options and variables, so that "15s" means the same everywhere. Texts and Booleans are here, the other kinds in
// number_values.h, address_values.h, list_values.h and word_values.h.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/auth_file.h"
#include "proxy/config/config_error.h"

namespace pgveil::proxy::values {

using protocol::in_quotes;

// A value before it is understood. Flags and variables have no types: all of theirs are `untyped`.
struct RawValue {
  enum class Kind { text, integer, boolean, list, untyped, other };
  Kind kind = Kind::untyped;
  std::string text;                     // "15s", "5432", "true"; empty for `list` and `other`
  std::vector<std::string> items = {};  // of a list of strings
};

// The error has no location: only the caller knows where the value is.
template <class T>
using Read = tl::expected<T, ConfigError>;
[[nodiscard]] tl::unexpected<ConfigError> invalid(std::string message, std::string hint);

// Each kind of value has read(), its inverse show(), and type(): what the documentation calls it.

// Any text but the empty one: a key that is not wanted is left out.
struct Text {
  using Value = std::string;
  [[nodiscard]] static std::string type() { return "string"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return value; }
};

struct Path : Text {
  [[nodiscard]] static std::string type() { return "path"; }
};

// A text that appears in no message.
struct Secret : Text {
  [[nodiscard]] static std::string show(const Value& value) { return value.empty() ? "" : "(secret)"; }
};

// true or false. Flags and variables may also say on/off, yes/no and 1/0, as PostgreSQL's do.
struct Boolean {
  using Value = bool;
  [[nodiscard]] static std::string type() { return "boolean"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(Value value) { return value ? "true" : "false"; }
};

// Returns the text without blanks, tabs and ends of lines at both ends.
[[nodiscard]] std::string_view trimmed(std::string_view text);

[[nodiscard]] std::string one_of(const std::vector<std::string_view>& words, std::string_view quote);
// "a, b and c".
[[nodiscard]] std::string all_of(const std::vector<std::string_view>& words);
[[nodiscard]] Read<std::string> read_text(const RawValue& raw);

// The word of `candidates` that `word` was probably meant to be; empty where none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& candidates);
// The hint for an unknown word: `Did you mean "WORD"?`
[[nodiscard]] std::string did_you_mean(std::string_view word);

}  // namespace pgveil::proxy::values
