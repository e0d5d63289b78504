#include "protocol/query_reader.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::operator""_wire;
using State = QueryReader::State;

const Bytes kAnswer =
    "'T' 0000002e 0002 'a'00 00000000 0000 00000019 ffff ffffffff 0000"
    "'b'00 00000000 0000 00000019 ffff ffffffff 0000"
    "'D' 00000010 0002 00000002 'on' ffffffff"
    "'C' 0000000d 'SELECT 1'00 'Z' 00000005 'I'"_wire;

TEST(AQueryReader, ReadsNamesAndValues) {
  QueryReader reader;
  Bytes bytes = kAnswer;
  const auto state = reader.receive(bytes);
  EXPECT_EQ(state, State::complete);
  EXPECT_EQ(reader.answer().columns, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(reader.answer().rows, (std::vector<Row>{{"on", std::nullopt}}));
  EXPECT_FALSE(reader.answer().error);
}

TEST(AQueryReader, NeedsEveryByte) {
  QueryReader reader;
  for (std::size_t i = 0; i + 1 < kAnswer.size(); ++i)
    ASSERT_EQ(reader.receive(ByteView(kAnswer).subspan(i, 1)), State::more) << i;
  EXPECT_EQ(reader.receive(ByteView(kAnswer).last(1)), State::complete);
}

TEST(AQueryReader, HasTheErrorOfAFailedQuery) {
  QueryReader reader;
  EXPECT_EQ(reader.receive("'E' 0000000f 'C42501'00 'Mx'00 00 'Z' 00000005 'I'"_wire), State::complete);
  ASSERT_TRUE(reader.answer().error);
  EXPECT_EQ(reader.answer().error->sqlstate, "42501");
}

TEST(AQueryReader, IgnoresWhatMayComeAtAnyTime) {
  QueryReader reader;
  EXPECT_EQ(reader.receive("'N' 00000008 'Mx'00 00 'S' 00000008 'a'00 'b'00 'Z' 00000005 'I'"_wire),
            State::complete);
}

TEST(AQueryReader, RefusesWhatIsNotAnAnswer) {
  for (const Bytes& bytes :
       {"'R' 00000008 00000000"_wire, "'D' 00000007 0001 00"_wire, "'T' 00000006 0001"_wire,
        "'D' 00000006 0000 'Z' 00000003"_wire, "'G' 00000007 00 0000"_wire}) {
    QueryReader reader;
    EXPECT_EQ(reader.receive(bytes), State::failed);
  }
}

TEST(AQueryReader, RefusesAnAnswerThatIsTooLarge) {
  QueryReader reader;
  EXPECT_EQ(reader.receive("'D' 00400001"_wire), State::failed);
  QueryReader other;
  const Bytes empty = "'N' 00000008 'Mx'00 00"_wire;
  State state = State::more;
  for (std::size_t size = 0; size <= QueryReader::kMaxBytes && state == State::more; size += empty.size())
    state = other.receive(empty);
  EXPECT_EQ(state, State::failed);
}

}  // namespace
}  // namespace pgveil::protocol
