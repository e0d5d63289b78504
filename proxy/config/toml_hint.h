// What to do about a file that is not valid TOML, for the most common errors.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgveil::proxy {

inline constexpr std::string_view kTomlReference = "The syntax of TOML is described at https://toml.io.";

// Whether a file is in UTF-16, as some editors of Windows write it.
[[nodiscard]] bool is_utf16(std::string_view toml);

// Returns what to do about the error in line `line` of `toml`, counted from 1; for an unknown error a general sentence.
// The sentence can quote the line: do not call it for a line that may hold a secret.
[[nodiscard]] std::string toml_hint(std::string_view toml, std::size_t line);

}  // namespace pgveil::proxy
