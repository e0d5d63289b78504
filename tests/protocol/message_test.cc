#include "protocol/message.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::repeated;
using test::operator""_wire;
using test::operator+;

constexpr std::uint32_t kLimit = 1'000;

TEST(Message, IsItsTypeItsBodyAndTheWhole) {
  const auto bytes = "'Z' 00000005 'I'"_wire;
  ByteReader in(bytes);
  const auto message = decode_message(in, kLimit);
  ASSERT_TRUE(message && *message);
  EXPECT_EQ((*message)->type, 'Z');
  EXPECT_EQ(as_text((*message)->body), "I");
  EXPECT_EQ(as_text((*message)->whole), as_text(bytes));
}

TEST(Message, MayHaveNoBody) {
  const auto bytes = "'X' 00000004"_wire;
  ByteReader in(bytes);
  const auto message = decode_message(in, kLimit);
  ASSERT_TRUE(message && *message);
  EXPECT_TRUE((*message)->body.empty());
  EXPECT_EQ((*message)->whole.size(), 5u);
}

TEST(Message, LeavesTheNextOne) {
  const auto bytes = "'1' 00000004 'Z' 00000005 'I'"_wire;
  ByteReader in(bytes);
  ASSERT_TRUE(decode_message(in, kLimit).has_value());
  const auto next = decode_message(in, kLimit);
  ASSERT_TRUE(next && *next);
  EXPECT_EQ((*next)->type, 'Z');
  EXPECT_TRUE(in.empty());
}

TEST(Message, AsksForMoreAtEveryPrefixAndConsumesNothing) {
  const auto whole = "'R' 00000008 00000000"_wire;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    ByteReader in(ByteView(whole).first(size));
    const auto message = decode_message(in, kLimit);
    ASSERT_TRUE(message.has_value()) << size;
    EXPECT_FALSE(message->has_value()) << size;
    EXPECT_EQ(in.remaining(), size);
  }
}

TEST(Message, MayBeAsLongAsTheLimitAndNotAByteLonger) {
  const auto at_limit = "'D' 000003e8"_wire + repeated('x', kLimit - 4);
  ByteReader in(at_limit);
  const auto message = decode_message(in, kLimit);
  ASSERT_TRUE(message && *message);

  const auto over_limit = "'D' 000003e9"_wire;  // refused before its body has arrived
  ByteReader longer(over_limit);
  const auto refused = decode_message(longer, kLimit);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error(), DecodeError::bad_length);
}

TEST(Message, IsRefusedAtALengthThatDoesNotCountItself) {
  for (const auto& bytes : {"'X' 00000003"_wire, "'X' 00000000"_wire}) {
    ByteReader in(bytes);
    const auto message = decode_message(in, kLimit);
    ASSERT_FALSE(message.has_value());
    EXPECT_EQ(message.error(), DecodeError::bad_length);
  }
}

TEST(Message, IsRefusedAtALengthOfFourGigabytesWhateverTheLimit) {
  const auto bytes = "'D' ffffffff"_wire;
  ByteReader in(bytes);
  EXPECT_FALSE(decode_message(in, 0x3fff'ffff).has_value());
}

// --- BoundaryTracker ---

// ParseComplete, two DataRows, one of them without columns, CommandComplete, ReadyForQuery.
const Bytes kStream =
    "'1' 00000004 'D' 0000000b 0001 00000001 'x' 'D' 00000006 0000 'C' 0000000d 'SELECT 2'00 'Z' 00000005 'I'"_wire;

// Returns where kStream may be cut between messages, determined by decode_message().
std::vector<bool> boundaries_of_stream() {
  std::vector<bool> boundaries(kStream.size() + 1, false);
  ByteReader in(kStream);
  boundaries[0] = true;
  while (!in.empty()) {
    const auto message = decode_message(in, kLimit);
    if (!message || !*message) break;
    boundaries[kStream.size() - in.remaining()] = true;
  }
  return boundaries;
}

TEST(BoundaryTracker, BeginsAtABoundary) {
  BoundaryTracker tracker;
  EXPECT_TRUE(tracker.at_boundary());
  tracker.follow({});
  EXPECT_TRUE(tracker.at_boundary());
}

TEST(BoundaryTracker, KnowsTheBoundariesOfAStreamThatComesByteByByte) {
  const auto boundaries = boundaries_of_stream();
  BoundaryTracker tracker;
  for (std::size_t place = 0; place < kStream.size(); ++place) {
    EXPECT_EQ(tracker.at_boundary(), boundaries[place]) << place;
    tracker.follow(ByteView(kStream).subspan(place, 1));
  }
  EXPECT_TRUE(tracker.at_boundary());
}

TEST(BoundaryTracker, KnowsTypeAndSizeOfTheLastMessage) {
  BoundaryTracker tracker;
  EXPECT_EQ(tracker.last_type(), 0);
  tracker.follow("'D' 0000000b 0001"_wire);
  EXPECT_EQ(tracker.last_type(), 'D');
  EXPECT_EQ(tracker.last_size(), 12U);
  tracker.follow("00000001 'x' 'Z' 0000"_wire);
  EXPECT_EQ(tracker.last_type(), 'D');
  tracker.follow("0005"_wire);
  EXPECT_EQ(tracker.last_type(), 'Z');
  EXPECT_EQ(tracker.last_size(), 6U);
}

TEST(BoundaryTracker, TellsAMessageUnderWayFromABoundaryThatIsLost) {
  BoundaryTracker tracker;
  EXPECT_FALSE(tracker.in_message());
  tracker.follow("'D' 00"_wire);
  EXPECT_TRUE(tracker.in_message());
  tracker.follow("000004"_wire);
  EXPECT_FALSE(tracker.in_message());
  tracker.follow("'D' 00000003"_wire);
  EXPECT_FALSE(tracker.in_message());
  EXPECT_FALSE(tracker.at_boundary());
}

TEST(BoundaryTracker, KnowsTheBoundariesHoweverTheStreamIsCut) {
  const auto boundaries = boundaries_of_stream();
  const ByteView stream(kStream);
  for (std::size_t first = 0; first <= stream.size(); ++first) {
    for (std::size_t second = first; second <= stream.size(); ++second) {
      BoundaryTracker tracker;
      tracker.follow(stream.first(first));
      EXPECT_EQ(tracker.at_boundary(), boundaries[first]) << first;
      tracker.follow(stream.subspan(first, second - first));
      EXPECT_EQ(tracker.at_boundary(), boundaries[second]) << first << ' ' << second;
      tracker.follow(stream.subspan(second));
      EXPECT_TRUE(tracker.at_boundary()) << first << ' ' << second;
    }
  }
}

TEST(BoundaryTracker, FollowsAMessageOfAlmostTwoGigabytes) {
  const auto chunk = repeated(0, 1 << 20);
  BoundaryTracker tracker;
  tracker.follow("'d' 7fffffff"_wire);
  std::uint64_t left = 0x7fff'fffb;
  for (; left > chunk.size(); left -= chunk.size()) tracker.follow(chunk);
  tracker.follow(ByteView(chunk).first(left - 1));
  EXPECT_FALSE(tracker.at_boundary());
  tracker.follow(ByteView(chunk).first(1));
  EXPECT_TRUE(tracker.at_boundary());
}

class LengthThatLosesTheTracker : public testing::TestWithParam<Bytes> {};

TEST_P(LengthThatLosesTheTracker, IsNeverFollowedByABoundary) {
  BoundaryTracker tracker;
  tracker.follow(GetParam());
  EXPECT_TRUE(tracker.lost());
  EXPECT_FALSE(tracker.at_boundary());
  tracker.follow(kStream);
  EXPECT_FALSE(tracker.at_boundary());
}

TEST_P(LengthThatLosesTheTracker, IsNoticedWhenItComesByteByByte) {
  BoundaryTracker tracker;
  for (const std::uint8_t byte : GetParam()) {
    EXPECT_FALSE(tracker.lost());
    tracker.follow(Bytes{byte});
  }
  EXPECT_TRUE(tracker.lost());
}

INSTANTIATE_TEST_SUITE_P(Message, LengthThatLosesTheTracker,
                         testing::Values("'D' 00000003"_wire, "'D' 00000000"_wire, "'D' 80000000"_wire,
                                         "'D' ffffffff"_wire));

}  // namespace
}  // namespace pgveil::protocol
