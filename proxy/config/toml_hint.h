// What to do about a file that is not valid TOML, for the most common errors.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgveil::proxy {

inline constexpr std::string_view kTomlReference = "The syntax of TOML is described at https://toml.io.";

// Whether a file is in UTF-16, as some editors of Windows write it.
[[nodiscard]] bool is_utf16(std::string_view toml);

// What to do about the error in line `line` (from 1 on) of `toml`; a general sentence if the error is not a known one. It quotes the key, so that it is only for a line that holds no secret.
[[nodiscard]] std::string toml_hint(std::string_view toml, std::size_t line);

}  // namespace pgveil::proxy
