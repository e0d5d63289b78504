// How a value is written in a line: as `key=value` for people, or as JSON for programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgveil::proxy {

// Appends the value in quotes, escaped as in JSON; text lines use the same form. The result is valid UTF-8 without
// control characters, whatever bytes the value has.
void append_quoted(std::string& out, std::string_view value);

// Returns the value without quotes, for a terminal. It is valid UTF-8 without control characters; other bytes are escaped as
// \uXXXX.
[[nodiscard]] std::string printable(std::string_view value);

// Returns the text if it has at most `max` bytes. Otherwise writes its first `max` bytes and "..." into `room`, and returns that.
// A character of which only a part would be among these bytes is left out.
[[nodiscard]] std::string_view cut(std::string_view text, std::size_t max, std::string& room);

// Append a key with its value. A value that is empty or unknown is left out of text, and is null in JSON.
void append_field(std::string& line, bool as_json, std::string_view key, std::string_view value);
void append_number(std::string& line, bool as_json, std::string_view key, std::uint64_t value);
void append_flag(std::string& line, bool as_json, std::string_view key, std::optional<bool> value);
// Appends null in JSON, and nothing in text.
void append_null(std::string& line, bool as_json, std::string_view key);

}  // namespace pgveil::proxy
