#include "protocol/frontend.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;

TEST(Terminate, IsAHeaderAlone) {
  Bytes out;
  encode_terminate(out);
  EXPECT_EQ(out, "'X' 00000004"_wire);
}

TEST(Query, HasItsTextAndANul) {
  Bytes out;
  encode_query("SELECT 1", out);
  EXPECT_EQ(out, "'Q' 0000000d 'SELECT 1'00"_wire);
}

TEST(Password, IsReadAsItWasWritten) {
  Bytes out;
  encode_password("secret", out);
  EXPECT_EQ(out, "'p' 0000000b 'secret'00"_wire);
  EXPECT_EQ(decode_password(ByteView(out).subspan(5)), "secret");
}

TEST(Password, FillsItsMessageExactly) {
  for (const auto& body : {""_wire, "'secret'"_wire, "'sec'00 'ret'00"_wire})
    EXPECT_EQ(decode_password(body), tl::unexpected(DecodeError::bad_layout));
}

TEST(SaslInitialResponse, IsReadAsItWasWritten) {
  const auto data = "'n,,n=,r=abc'"_wire;
  Bytes out;
  encode_sasl_initial_response({"SCRAM-SHA-256", data}, out);
  EXPECT_EQ(out, "'p' 00000021 'SCRAM-SHA-256'00 0000000b 'n,,n=,r=abc'"_wire);

  const auto decoded = decode_sasl_initial_response(ByteView(out).subspan(5));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->mechanism, "SCRAM-SHA-256");
  ASSERT_TRUE(decoded->data.has_value());
  EXPECT_EQ(as_text(*decoded->data), "n,,n=,r=abc");
}

TEST(SaslInitialResponse, TellsNoDataFromEmptyData) {
  Bytes none;
  encode_sasl_initial_response({"M", std::nullopt}, none);
  EXPECT_EQ(none, "'p' 0000000a 'M'00 ffffffff"_wire);
  EXPECT_FALSE(decode_sasl_initial_response(ByteView(none).subspan(5))->data.has_value());

  Bytes empty;
  encode_sasl_initial_response({"M", ByteView()}, empty);
  EXPECT_EQ(empty, "'p' 0000000a 'M'00 00000000"_wire);
  EXPECT_TRUE(decode_sasl_initial_response(ByteView(empty).subspan(5))->data.has_value());
}

struct MalformedResponse {
  const char* name;
  Bytes body;
};

class MalformedSaslInitialResponse : public testing::TestWithParam<MalformedResponse> {};

TEST_P(MalformedSaslInitialResponse, IsRefused) {
  const auto decoded = decode_sasl_initial_response(GetParam().body);
  ASSERT_FALSE(decoded.has_value());
  EXPECT_EQ(decoded.error(), DecodeError::bad_layout);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Sasl, MalformedSaslInitialResponse,
    testing::Values(
        MalformedResponse{"Nothing", ""_wire},
        MalformedResponse{"MechanismWithoutEnd", "'SCRAM'"_wire},
        MalformedResponse{"LengthCut", "'M'00 000000"_wire},
        MalformedResponse{"DataCut", "'M'00 00000004 'abc'"_wire},
        MalformedResponse{"MoreThanTheData", "'M'00 00000002 'abc'"_wire},
        MalformedResponse{"MoreThanNoData", "'M'00 ffffffff 'a'"_wire},
        MalformedResponse{"LengthBelowNone", "'M'00 fffffffe"_wire}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(SaslResponse, IsItsDataAlone) {
  Bytes out;
  encode_sasl_response("'c=biws'"_wire, out);
  EXPECT_EQ(out, "'p' 0000000a 'c=biws'"_wire);
}

}  // namespace
}  // namespace pgveil::protocol
