// Text as lines of a manual page, in the macros of man(7).
#pragma once

#include <string>
#include <string_view>

namespace pgveil::proxy::roff {

// Text that is printed as it is, and can be copied: "-" is a minus sign, not a hyphen. Not for the beginning of a line.
[[nodiscard]] std::string escaped(std::string_view text);

[[nodiscard]] std::string bold(std::string_view text);
[[nodiscard]] std::string italic(std::string_view text);

// Lines that are filled. What is between backticks is bold.
[[nodiscard]] std::string filled(std::string_view text);

// Lines that stay as they are, in a font for programs.
[[nodiscard]] std::string example(std::string_view text);

[[nodiscard]] std::string section(std::string_view title);
[[nodiscard]] std::string subsection(std::string_view title);

// An entry of a list. `term` is already roff; the text follows it.
[[nodiscard]] std::string entry(std::string_view term);

}  // namespace pgveil::proxy::roff
