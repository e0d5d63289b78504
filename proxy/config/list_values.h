// Settings whose value is a list of names or words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/config/require_auth.h"
#include "proxy/config/values.h"

namespace pgveil::proxy::values {

[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
// With commas between.
[[nodiscard]] std::string joined(const std::vector<std::string>& elements);

// Names with commas between them.
struct NameList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return joined(value); }
};

// A program and its arguments, which no shell reads.
struct CommandWords {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "array of strings"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// libpq's require_auth: "scram-sha-256,md5", or "!password".
struct AuthMethodList {
  using Value = AuthMethods;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(std::optional<Value> value) { return value ? value->text() : ""; }
};

// The labels of metrics: "user,database".
struct LabelList {
  using Value = AdminLabels;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

}  // namespace pgveil::proxy::values
