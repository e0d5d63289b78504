#include "proxy/commands/issued_list.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

TEST(AnIssuedList, IsReadAsItWasWritten) {
  const IssuedList list{{{"0a", "ff01", "CN=billing,O=Example\\, Inc."}, {"7f00", "ff02", ""}}};
  const std::string text = text_of(list);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "\n0a ff01 CN=billing,O=Example\\, Inc.\n7f00 ff02 \n", text);
  const auto read = parse_issued_list(text);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(text_of(*read), text);
  EXPECT_EQ(parse_issued_list(text_of(IssuedList{}))->certificates.size(), 0U);
}

TEST(AnIssuedList, FindsCertificatesBySerialAndByKey) {
  IssuedList list;
  list.add({"01", "aa", "CN=a"});
  list.add({"02", "bb", "CN=b"});
  list.add({"03", "aa", "CN=a"});
  list.add({"01", "cc", "CN=other"});
  ASSERT_EQ(list.certificates.size(), 3U);
  ASSERT_NE(list.find("01"), nullptr);
  EXPECT_EQ(list.find("01")->key_id, "aa");
  EXPECT_EQ(list.find("1"), nullptr);
  const auto found = list.with_key("aa");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1].serial, "03");
}

TEST(AnIssuedList, IsNotReadWithoutALineThatIsDamaged) {
  const auto line_of = [](std::string_view text) {
    const auto list = parse_issued_list(text);
    return list ? 0 : list.error();
  };
  EXPECT_EQ(line_of("# comment\n\n0a ff CN=a\n"), 0);
  EXPECT_EQ(line_of(""), 1);
  for (const char* line : {"0a", "0a ff", "0A ff CN=a", "-0a ff CN=a", " ff CN=a", "0a x CN=a"})
    EXPECT_EQ(line_of(std::string("# comment\n") + line), 2) << line;
}

}  // namespace
}  // namespace pgveil::proxy
