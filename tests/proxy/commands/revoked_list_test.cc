#include "proxy/commands/revoked_list.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

TEST(ARevokedList, IsReadAsItWasWritten) {
  const RevokedList list{7, {{"0a", 1'796'071'548, "CN=billing,O=Example\\, Inc."}, {"7f00", 0, ""}}};
  const std::string text = text_of(list);
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      "\ncrl_number 7\n0a 2026-11-30T20:45:48Z CN=billing,O=Example\\, Inc.\n", text);
  const auto read = parse_revoked_list(text);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(text_of(*read), text);
  ASSERT_NE(read->find("7f00"), nullptr);
  EXPECT_EQ(read->find("7f00")->time, 0);
  EXPECT_EQ(read->find("7f"), nullptr);
}

TEST(ARevokedList, IsNotReadWithoutALineThatIsDamaged) {
  const auto line_of = [](std::string_view text) {
    const auto list = parse_revoked_list(text);
    return list ? 0 : list.error();
  };
  EXPECT_EQ(line_of("crl_number 1\n"), 0);
  EXPECT_EQ(line_of("# comment\n\ncrl_number 1\n0a 2026-11-30T20:31:40Z CN=a\n"), 0);
  EXPECT_EQ(line_of(""), 1);
  EXPECT_EQ(line_of("# only a comment\n"), 2);
  for (const char* number :
       {"crl_number", "crl_number ", "crl_number x", "crl_number -1", "crl_number 1x", "0a"})
    EXPECT_EQ(line_of(number), 1) << number;
  for (const char* line :
       {"0a", "0a 2026-11-30T20:31:40Z", "0A 2026-11-30T20:31:40Z CN=a", " 2026-11-30T20:31:40Z CN=a",
        "0a yesterday CN=a", "0a 2026-11-30T20:31:40 CN=a", "crl_number 2"})
    EXPECT_EQ(line_of(std::string("crl_number 1\n") + line), 2) << line;
}

}  // namespace
}  // namespace pgveil::proxy
