#include "proxy/diagnostics/log_text.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

std::string cut_text(std::string_view text, std::size_t max) {
  std::string room;
  return std::string(cut(text, max, room));
}

TEST(Cut, LeavesAShortTextAsItIs) {
  EXPECT_EQ(cut_text("", 3), "");
  EXPECT_EQ(cut_text("abc", 3), "abc");
}

TEST(Cut, EndsALongTextWithDots) {
  EXPECT_EQ(cut_text("abcd", 3), "abc...");
}

TEST(Cut, LeavesNoPartOfACharacter) {
  EXPECT_EQ(cut_text("a\u00e9b", 2), "a...");
  EXPECT_EQ(cut_text("a\u00e9b", 3), "a\u00e9...");
  EXPECT_EQ(cut_text("a\U0001F600b", 4), "a...");
  EXPECT_EQ(cut_text("a\U0001F600b", 5), "a\U0001F600...");
}

TEST(Cut, KeepsBytesThatAreNotUtf8) {
  EXPECT_EQ(cut_text(std::string(8, '\x80'), 6), std::string(6, '\x80') + "...");
}

}  // namespace
}  // namespace pgveil::proxy
