// docs/reasons.md against the table of reasons.
#include "proxy/diagnostics/reason.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

namespace pgveil::proxy {
namespace {

// Of a row of the page: everything but what to do.
struct Row {
  std::string name;
  std::string sqlstate;
  std::string fault;
  std::string message;

  bool operator==(const Row&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Row& row) {
    return out << row.name << " | " << row.sqlstate << " | " << row.fault << " | " << row.message;
  }
};

// The cells of "| a | b |": "a" and "b".
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  for (std::size_t begin = 1; begin < line.size();) {
    const auto end = std::min(line.find('|', begin), line.size());
    const auto first = line.find_first_not_of(' ', begin);
    const auto last = line.find_last_not_of(' ', end - 1);
    cells.push_back(first < end && last >= first ? line.substr(first, last - first + 1) : "");
    begin = end + 1;
  }
  return cells;
}

// The rows of all tables of reasons, in the order of the page.
std::vector<Row> rows_of_page() {
  std::ifstream page(std::filesystem::path(PGVEIL_SOURCE_DIR) / "docs/reasons.md");
  EXPECT_TRUE(page.is_open());
  std::vector<Row> rows;
  bool in_table = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("| Reason |")) {
      in_table = true;
    } else if (!line.starts_with("|")) {
      in_table = false;
    } else if (in_table && !line.starts_with("|---")) {
      const auto cells = cells_of(line);
      EXPECT_EQ(cells.size(), 5U) << line;
      if (cells.size() == 5) rows.push_back({cells[0], cells[1], cells[2], cells[3]});
    }
  }
  return rows;
}

std::vector<Row> rows_of_table() {
  std::vector<Row> rows;
  for (const ReasonInfo& reason : all_reasons())
    rows.push_back({'`' + std::string(reason.name) + '`',
                    reason.sqlstate.empty() ? "-" : std::string(reason.sqlstate),
                    std::string(name_of(reason.fault)), std::string(reason.message)});
  return rows;
}

TEST(ReasonsPage, HasEveryReasonWithSqlstateFaultAndMessageAndNoOther) {
  const auto page = rows_of_page();
  const auto table = rows_of_table();
  for (std::size_t i = 0; i < std::min(page.size(), table.size()); ++i) EXPECT_EQ(page[i], table[i]);
  EXPECT_EQ(page.size(), table.size());
}

}  // namespace
}  // namespace pgveil::proxy
