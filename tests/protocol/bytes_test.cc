#include "protocol/bytes.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;

TEST(ByteReader, ReadsIntegersInNetworkOrder) {
  const auto bytes = "2a 01020304"_wire;
  ByteReader in(bytes);
  EXPECT_EQ(in.read_uint8(), 0x2a);
  EXPECT_EQ(in.read_uint32(), 0x01020304u);
  EXPECT_TRUE(in.empty());
}

TEST(ByteReader, StaysWhereItIsWhenAReadDoesNotFit) {
  const auto bytes = "010203"_wire;
  ByteReader in(bytes);
  EXPECT_EQ(in.read_uint32(), std::nullopt);
  EXPECT_FALSE(in.read_bytes(4).has_value());
  EXPECT_EQ(in.read_c_string(), std::nullopt);
  EXPECT_EQ(in.remaining(), 3u);
}

TEST(ByteReader, ReadsNothingFromNothing) {
  ByteReader in({});
  EXPECT_EQ(in.read_uint8(), std::nullopt);
  EXPECT_EQ(in.read_uint32(), std::nullopt);
  EXPECT_EQ(in.read_c_string(), std::nullopt);
  EXPECT_TRUE(in.read_bytes(0).has_value());
}

TEST(ByteReader, ReadsAStringUpToItsNulAndConsumesTheNul) {
  const auto bytes = "'user'00 00 'rest'"_wire;
  ByteReader in(bytes);
  EXPECT_EQ(in.read_c_string(), "user");
  EXPECT_EQ(in.read_c_string(), "");
  EXPECT_EQ(as_text(in.rest()), "rest");
}

TEST(ByteReader, DoesNotWrapAroundAtAnEnormousSize) {
  const auto bytes = "0102"_wire;
  ByteReader in(bytes);
  EXPECT_FALSE(in.read_bytes(static_cast<std::size_t>(-1)).has_value());
}

TEST(ByteWriter, WritesWhatTheReaderReads) {
  Bytes out;
  ByteWriter writer(out);
  writer.write_uint8(0x2a);
  writer.write_uint32(0x01020304);
  writer.write_c_string("user");
  writer.write_bytes(as_bytes("rest"));
  EXPECT_EQ(out, "2a 01020304 'user'00 'rest'"_wire);
}

TEST(ByteWriter, CountsALengthWordWithItsOwnFourBytesAndNothingBeforeIt) {
  Bytes out;
  ByteWriter writer(out);
  writer.write_uint8('E');
  const auto place = writer.begin_length();
  writer.write_bytes(as_bytes("abc"));
  writer.end_length(place);
  EXPECT_EQ(out, "'E' 00000007 'abc'"_wire);
}

TEST(ByteWriter, AppendsToWhatIsThere) {
  Bytes out = "ff"_wire;
  ByteWriter writer(out);
  writer.end_length(writer.begin_length());
  EXPECT_EQ(out, "ff 00000004"_wire);
}

}  // namespace
}  // namespace pgveil::protocol
