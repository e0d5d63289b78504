#include "protocol/base64.h"

#include <gtest/gtest.h>

namespace pgveil::protocol {
namespace {

// RFC 4648, section 10.
TEST(Base64, IsThatOfTheStandard) {
  struct Row {
    std::string_view bytes;
    std::string_view text;
  };
  for (const auto& [bytes, text] :
       {Row{"", ""}, Row{"f", "Zg=="}, Row{"fo", "Zm8="}, Row{"foo", "Zm9v"}, Row{"foob", "Zm9vYg=="},
        Row{"fooba", "Zm9vYmE="}, Row{"foobar", "Zm9vYmFy"}, Row{"\xfb\xff\xbe", "+/++"}}) {
    EXPECT_EQ(encode_base64(as_bytes(bytes)), text);
    const auto decoded = decode_base64(text);
    ASSERT_TRUE(decoded.has_value()) << text;
    EXPECT_EQ(as_text(*decoded), bytes);
  }
}

TEST(Base64, BringsBackEveryByte) {
  Bytes bytes;
  for (int value = 0; value < 256; ++value) bytes.push_back(static_cast<std::uint8_t>(value));
  EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
}

TEST(Base64, IsRefusedInAnyOtherWriting) {
  for (const std::string_view text :
       {"Z", "Zg", "Zg=", "Zm9", "=", "====", "Z===", "Zg==Zg==", "Zm9v=", "Zg=g", "=Zg=", " Zg==", "Zg==\n",
        "Zm 9v", "Zm-_", "Zh==", "Zm9=", "Zm9\xc3"})
    EXPECT_EQ(decode_base64(text), std::nullopt) << text;
  EXPECT_EQ(decode_base64(std::string_view("Zm\0v", 4)), std::nullopt);
  EXPECT_EQ(decode_base64(std::string_view("Zg==\0\0\0\0", 8)), std::nullopt);
}

}  // namespace
}  // namespace pgveil::protocol
