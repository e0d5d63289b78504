#include "protocol/query_result.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;

const std::vector<Column> kColumns{{.name = "who"},
                                   {.name = "n", .type = ColumnType::int8, .is_binary = true}};

TEST(RowDescription, HasTheTypeAndTheFormatOfEachColumn) {
  Bytes out;
  encode_row_description(kColumns, out);
  EXPECT_EQ(out,
            "'T' 00000030 0002"
            "'who'00 00000000 0000 00000019 ffff ffffffff 0000"
            "'n'00 00000000 0000 00000014 0008 ffffffff 0001"_wire);
}

TEST(DataRow, HasTextAndNull) {
  Bytes out;
  encode_data_row(kColumns, {"alice", std::nullopt}, out);
  EXPECT_EQ(out, "'D' 00000013 0002 00000005 'alice' ffffffff"_wire);
}

TEST(DataRow, HasBinaryNumbers) {
  Bytes out;
  encode_data_row(kColumns, {std::nullopt, "-2"}, out);
  EXPECT_EQ(out, "'D' 00000016 0002 ffffffff 00000008 fffffffffffffffe"_wire);
  out.clear();
  const std::vector<Column> seconds{{.name = "s", .type = ColumnType::float8, .is_binary = true}};
  encode_data_row(seconds, {"0.5"}, out);
  EXPECT_EQ(out, "'D' 00000012 0001 00000008 3fe0000000000000"_wire);
}

TEST(QueryResult, EndsWithTheTagAndReadyForQuery) {
  Bytes out;
  encode_command_complete("SHOW", out);
  encode_ready_for_query(out);
  EXPECT_EQ(out, "'C' 00000009 'SHOW'00 'Z' 00000005 'I'"_wire);
}

TEST(QueryResult, HasMessagesWithoutABody) {
  Bytes out;
  encode_empty_query_response(out);
  encode(ShortMessage::parse_complete, out);
  encode_parameter_description(out);
  EXPECT_EQ(out, "'I' 00000004 '1' 00000004 't' 00000006 0000"_wire);
}

TEST(NegotiateProtocolVersion, HasTheNewestVersionAndTheUnknownOptions) {
  Bytes out;
  encode_negotiate_protocol_version(kProtocol32, std::vector<std::string>{"_pq_.x"}, out);
  EXPECT_EQ(out, "'v' 00000013 00030002 00000001 '_pq_.x'00"_wire);
}

TEST(ParameterStatus, HasNameAndValue) {
  Bytes out;
  encode_parameter_status("a", "b", out);
  EXPECT_EQ(out, "'S' 00000008 'a'00 'b'00"_wire);
}

TEST(ParameterStatus, IsRead) {
  const auto status = decode_parameter_status("'a'00 'b'00"_wire);
  ASSERT_TRUE(status);
  EXPECT_EQ(*status, std::pair(std::string("a"), std::string("b")));
  EXPECT_FALSE(decode_parameter_status("'a'00"_wire));
}

TEST(NegotiateProtocolVersion, HasTheWholeVersionOrTheMinorNumber) {
  EXPECT_EQ(decode_negotiate_protocol_version("00030000 00000000"_wire), kProtocol30);
  EXPECT_EQ(decode_negotiate_protocol_version("00000002 00000000"_wire), kProtocol32);
  EXPECT_FALSE(decode_negotiate_protocol_version("0003"_wire));
}

TEST(DataRow, IsReadOnlyIfItsValuesFillIt) {
  EXPECT_TRUE(decode_data_row("0001 00000001 'x'"_wire));
  EXPECT_FALSE(decode_data_row("0001 00000002 'x'"_wire));
  EXPECT_FALSE(decode_data_row("0001 00000001 'xy'"_wire));
}

}  // namespace
}  // namespace pgveil::protocol
