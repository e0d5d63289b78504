// `pgveil generate`: the manual pages and the completion of shells, written from the tables that --help uses.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pgveil::proxy {

enum class Generated { manual, file_manual, bash, zsh, fish };

// The words for them: "man".
[[nodiscard]] std::span<const std::string_view> generated_names();
[[nodiscard]] std::optional<Generated> generated_of(std::string_view name);

[[nodiscard]] std::string generate(Generated what);

// Prints it to standard output. Returns kExitOk, or kExitCannotCreate if it cannot be written.
[[nodiscard]] int run_generate(Generated what);

}  // namespace pgveil::proxy
