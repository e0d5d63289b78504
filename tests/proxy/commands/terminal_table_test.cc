#include "proxy/commands/terminal_table.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

TEST(TerminalTable, HasColumnsOfOneWidth) {
  EXPECT_EQ(table({{"A", "LONG HEAD"}, {"value", "b"}}), "A      LONG HEAD\nvalue  b\n");
}

TEST(TerminalTable, EscapesWhatATerminalWouldActOn) {
  EXPECT_EQ(table({{"USER"}, {"a\x1b[31m\nb\xe2\x80\xae\xff\"\\"}}),
            "USER\na\\u001b[31m\\u000ab\\u202e\\u00ff\"\\\n");
}

TEST(TerminalTable, LeavesLettersOfOtherLanguages) {
  EXPECT_EQ(table({{"USER"}, {"J\xc3\xbcrgen"}}), "USER\nJ\xc3\xbcrgen\n");
}

TEST(SizeText, UsesUnitsOfAThousand) {
  EXPECT_EQ(size_text(0), "0 B");
  EXPECT_EQ(size_text(999), "999 B");
  EXPECT_EQ(size_text(1'500'000), "1.5 MB");
}

TEST(DurationText, HasTheTwoLargestUnits) {
  EXPECT_EQ(duration_text(59), "59 s");
  EXPECT_EQ(duration_text(3'599), "59 min");
  EXPECT_EQ(duration_text(7'500), "2 h 5 min");
  EXPECT_EQ(duration_text(90'000), "1 d 1 h");
}

}  // namespace
}  // namespace pgveil::proxy
