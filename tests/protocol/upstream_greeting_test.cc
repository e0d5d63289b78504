#include "protocol/upstream_greeting.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;
using Answer = UpstreamGreeting::Answer;

TEST(UpstreamGreeting, BeginsWithAnSslRequestAndNothingElse) {
  Bytes out;
  UpstreamGreeting{}.begin(out);
  EXPECT_EQ(out, "00000008 04d2162f"_wire);
}

struct Row {
  const char* name;
  Bytes received;
  Answer answer;
};

class UpstreamAnswer : public testing::TestWithParam<Row> {};

TEST_P(UpstreamAnswer, IsUnderstood) {
  UpstreamGreeting greeting;
  EXPECT_EQ(greeting.receive(GetParam().received), GetParam().answer);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    UpstreamGreeting, UpstreamAnswer,
    testing::Values(
        Row{"Nothing", ""_wire, Answer::more},
        Row{"Accepted", "'S'"_wire, Answer::accepted},
        Row{"Refused", "'N'"_wire, Answer::refused},
        Row{"AcceptedWithStuffedMessage", "'S' 'R' 00000008 00000000"_wire, Answer::early_bytes},
        Row{"AcceptedWithTlsRecord", "'S' 16 0303"_wire, Answer::early_bytes},
        Row{"AcceptedTwice", "'SS'"_wire, Answer::early_bytes},
        Row{"RefusedWithStuffedMessage", "'N' 'R' 00000008 00000000"_wire, Answer::early_bytes},
        Row{"ErrorResponse", "'E' 00000017 'SFATAL'00 'VFATAL'00 00"_wire, Answer::error_response},
        Row{"ErrorResponseBeginning", "'E'"_wire, Answer::error_response},
        Row{"GssAccepted", "'G'"_wire, Answer::unexpected_byte},
        Row{"Http", "'HTTP/1.1 400 Bad Request'"_wire, Answer::unexpected_byte},
        Row{"TlsAlert", "15 0301 0002 022f"_wire, Answer::unexpected_byte},
        Row{"Zero", "00"_wire, Answer::unexpected_byte}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(UpstreamGreeting, TellsWhichByteWasUnexpected) {
  UpstreamGreeting greeting;
  EXPECT_EQ(greeting.receive("'HTTP'"_wire), Answer::unexpected_byte);
  EXPECT_EQ(greeting.answer_byte(), 'H');
}

TEST(UpstreamGreeting, GoesOnWaitingAfterAnEmptyRead) {
  UpstreamGreeting greeting;
  EXPECT_EQ(greeting.receive({}), Answer::more);
  EXPECT_EQ(greeting.receive("'S'"_wire), Answer::accepted);
}

}  // namespace
}  // namespace pgveil::protocol
