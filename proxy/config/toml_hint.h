// What to do about a file that is not valid TOML, for the mistakes that people make most often.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgveil::proxy {

inline constexpr std::string_view kTomlReference = "The syntax of TOML is described at https://toml.io.";

// A sentence about the mistake in line `line` (from 1 on) of `toml`; a general one if the mistake is none of those that
// are known. It quotes the key, so that it is only for a line that holds no secret.
[[nodiscard]] std::string toml_hint(std::string_view toml, std::size_t line);

}  // namespace pgveil::proxy
