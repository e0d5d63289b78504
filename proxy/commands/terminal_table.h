// Text for a terminal: tables, sizes and durations.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::proxy {

using TableRow = std::vector<std::string>;

// Returns columns with two blanks between them. The first row is the head. What a client has sent is escaped, so that the
// terminal does not act on it.
[[nodiscard]] std::string table(std::vector<TableRow> rows);

// Returns the lines of a text that another process has sent, escaped in the same way.
[[nodiscard]] std::string printable_lines(std::string_view text);

// Returns for example "512 B" or "1.5 MB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

// Returns for example "5 s", "3 min", "2 h 5 min" or "4 d 1 h".
[[nodiscard]] std::string duration_text(std::int64_t seconds);

}  // namespace pgveil::proxy
