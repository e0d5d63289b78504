#include "protocol/startup.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::repeated;
using test::with_length;
using test::operator""_wire;
using test::operator+;

using Parameters = std::vector<std::pair<std::string, std::string>>;

StartupMessage startup_message(Parameters parameters, ProtocolVersion version = kProtocol30) {
  return {version, std::move(parameters)};
}

// Returns the only packet in `bytes`.
template <class Packet>
Packet decoded(const Bytes& bytes) {
  ByteReader in(bytes);
  const auto packet = decode_startup_packet(in);
  if (!packet || !packet->has_value() || !std::holds_alternative<Packet>(**packet)) {
    ADD_FAILURE() << "another packet, or none";
    return {};
  }
  EXPECT_TRUE(in.empty());
  return std::get<Packet>(**packet);
}

TEST(StartupPacket, IsAnSslRequest) {
  (void)decoded<SslRequest>("00000008 04d2162f"_wire);
}

TEST(StartupPacket, IsAGssEncRequest) {
  (void)decoded<GssEncRequest>("00000008 04d21630"_wire);
}

TEST(StartupPacket, IsARequestWhateverStandsBehindItsCode) {
  (void)decoded<SslRequest>("00000009 04d2162f 00"_wire);
  (void)decoded<GssEncRequest>("0000000c 04d21630 'junk'"_wire);
}

TEST(StartupPacket, IsACancelRequestOfProtocol30) {
  const auto cancel = decoded<CancelRequest>("00000010 04d2162e 0000002a deadbeef"_wire);
  EXPECT_EQ(cancel.process_id, 42u);
  EXPECT_EQ(cancel.key, "deadbeef"_wire);
}

TEST(StartupPacket, IsACancelRequestWithTheLongestKeyOfProtocol32) {
  const auto key = repeated(0x5a, 256);
  const auto cancel = decoded<CancelRequest>("0000010c 04d2162e 0000002a"_wire + key);
  EXPECT_EQ(cancel.key, key);
}

TEST(StartupPacket, IsAStartupMessageWithItsParametersInOrder) {
  const auto message =
      decoded<StartupMessage>("00000022 00030002 'user'00 'ann'00 'database'00 'ledger'00 00"_wire);
  EXPECT_EQ(message.version, kProtocol32);
  EXPECT_EQ(message.parameters, (Parameters{{"user", "ann"}, {"database", "ledger"}}));
}

TEST(StartupPacket, MayHoldAnEmptyValue) {
  const auto message = decoded<StartupMessage>(with_length("00030000 'user'00 00 00"_wire));
  EXPECT_EQ(message.parameters, (Parameters{{"user", ""}}));
}

TEST(StartupPacket, MayHoldNoParameters) {
  EXPECT_TRUE(decoded<StartupMessage>(with_length("00030000 00"_wire)).parameters.empty());
}

TEST(StartupPacket, IsNotParsedWhenItsMajorVersionIsNot3) {
  const auto message = decoded<StartupMessage>("00000010 00020000 'anything'"_wire);
  EXPECT_EQ(message.version, make_protocol_version(2, 0));
  EXPECT_TRUE(message.parameters.empty());
}

TEST(StartupPacket, MayBeAsLongAsTheServerTakes) {
  const auto filler = "00002714 00030000 'a'00"_wire + repeated('x', 9'992) + "00 00"_wire;
  ASSERT_EQ(filler.size(), 10'004u);
  EXPECT_EQ(decoded<StartupMessage>(filler).parameters.front().second.size(), 9'992u);
}

TEST(StartupPacket, LeavesTheBytesBehindIt) {
  const auto bytes = "00000008 04d2162f 160301"_wire;
  ByteReader in(bytes);
  ASSERT_TRUE(decode_startup_packet(in).has_value());
  EXPECT_EQ(in.remaining(), 3u);
}

class StartupPacketPrefix : public testing::TestWithParam<Bytes> {};

TEST_P(StartupPacketPrefix, AsksForMoreAndConsumesNothing) {
  const Bytes& whole = GetParam();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    ByteReader in(ByteView(whole).first(size));
    const auto packet = decode_startup_packet(in);
    ASSERT_TRUE(packet.has_value()) << size;
    EXPECT_FALSE(packet->has_value()) << size;
    EXPECT_EQ(in.remaining(), size);
  }
}

INSTANTIATE_TEST_SUITE_P(Startup, StartupPacketPrefix,
                         testing::Values("00000008 04d2162f"_wire, "00000008 04d21630"_wire,
                                         "00000010 04d2162e 0000002a deadbeef"_wire,
                                         with_length("00030000 'user'00 'ann'00 00"_wire),
                                         "00000010 00020000 'anything'"_wire));

struct Malformed {
  const char* name;
  Bytes bytes;
  DecodeError why;
};

class MalformedStartupPacket : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedStartupPacket, IsRefused) {
  ByteReader in(GetParam().bytes);
  const auto packet = decode_startup_packet(in);
  ASSERT_FALSE(packet.has_value());
  EXPECT_EQ(packet.error(), GetParam().why);
  // A layout error concerns the whole packet. This detects packets that an error in this table has cut
  // short.
  if (GetParam().why == DecodeError::bad_layout) {
    EXPECT_TRUE(in.empty());
  }
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Startup, MalformedStartupPacket,
    testing::Values(
        Malformed{"LengthZero", "00000000"_wire, DecodeError::bad_length},
        Malformed{"LengthOfItselfAlone", "00000004"_wire, DecodeError::bad_length},
        Malformed{"LengthBelowHeader", "00000007 00030000"_wire, DecodeError::bad_length},
        Malformed{"LengthOverLimitWithNothingElse", "00002715"_wire, DecodeError::bad_length},
        Malformed{"LengthNegative", "ffffffff"_wire, DecodeError::bad_length},
        Malformed{"Http", "'GET / HTTP/1.1'0d0a"_wire, DecodeError::bad_length},
        Malformed{"TlsRecord", "16030100"_wire, DecodeError::bad_length},
        Malformed{"CancelWithoutProcessId", "00000008 04d2162e"_wire, DecodeError::bad_length},
        Malformed{"CancelWithHalfAProcessId", "0000000a 04d2162e 0000"_wire, DecodeError::bad_length},
        Malformed{"CancelWithoutKey", "0000000c 04d2162e 0000002a"_wire, DecodeError::bad_length},
        Malformed{"CancelWithKeyOf257Bytes", "0000010d 04d2162e 0000002a"_wire + repeated(1, 257), DecodeError::bad_length},
        Malformed{"NothingBehindVersion", with_length("00030000"_wire), DecodeError::bad_layout},
        Malformed{"NameUnterminated", with_length("00030000 'user'"_wire), DecodeError::bad_layout},
        Malformed{"NameOfOneByteUnterminated", with_length("00030000 'u'"_wire), DecodeError::bad_layout},
        Malformed{"ValueMissing", with_length("00030000 'user'00"_wire), DecodeError::bad_layout},
        Malformed{"ValueEmptyAndTerminatorMissing", with_length("00030000 'user'00 00"_wire), DecodeError::bad_layout},
        Malformed{"ValueUnterminated", with_length("00030000 'user'00 'ann'"_wire), DecodeError::bad_layout},
        Malformed{"TerminatorMissing", with_length("00030000 'user'00 'ann'00"_wire), DecodeError::bad_layout},
        Malformed{"TerminatorTwice", with_length("00030000 'user'00 'ann'00 00 00"_wire), DecodeError::bad_layout},
        Malformed{"TerminatorEarly", with_length("00030000 'user'00 'ann'00 00 'user'00 'bo'"_wire), DecodeError::bad_layout},
        Malformed{"NameEmpty", with_length("00030000 00 'x'00 'user'00 'ann'00 00 00"_wire), DecodeError::bad_layout}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(StartupMessage, FindsTheLastOfParametersThatStandTwiceAsTheServerDoes) {
  const auto message = startup_message({{"user", "ann"}, {"user", "bob"}});
  EXPECT_EQ(message.user(), "bob");
}

TEST(StartupMessage, ComparesNamesCaseSensitively) {
  const auto message = startup_message({{"User", "ann"}});
  EXPECT_EQ(message.find("user"), std::nullopt);
  EXPECT_EQ(message.user(), "");
}

TEST(StartupMessage, TellsAnEmptyValueFromNone) {
  const auto message = startup_message({{"options", ""}});
  EXPECT_EQ(message.find("options"), "");
  EXPECT_EQ(message.find("replication"), std::nullopt);
}

TEST(StartupMessage, OpensTheDatabaseOfTheUsersNameWhereNoneIsNamed) {
  EXPECT_EQ(startup_message({{"user", "ann"}}).database(), "ann");
  EXPECT_EQ(startup_message({{"user", "ann"}, {"database", ""}}).database(), "ann");
  EXPECT_EQ(startup_message({{"user", "ann"}, {"database", "ledger"}}).database(), "ledger");
}

struct Judged {
  const char* name;
  StartupMessage message;
  std::optional<StartupDefect> defect;
};

class StartupDefectOf : public testing::TestWithParam<Judged> {};

TEST_P(StartupDefectOf, IsFound) {
  EXPECT_EQ(find_startup_defect(GetParam().message), GetParam().defect);
}

const std::string kLongestName(63, 'n');
const std::string kNameTooLong(64, 'n');

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Startup, StartupDefectOf,
    testing::Values(
        Judged{"None", startup_message({{"user", "ann"}}), std::nullopt},
        Judged{"NoneInANewerMinorVersion", startup_message({{"user", "ann"}}, make_protocol_version(3, 9999)), std::nullopt},
        Judged{"NoneInAnUnknownParameterThatStandsTwice", startup_message({{"user", "ann"}, {"a", "1"}, {"a", "2"}}), std::nullopt},
        Judged{"NoneInNamesThatJustFit", startup_message({{"user", kLongestName}, {"database", kLongestName}}), std::nullopt},
        Judged{"MajorVersion2", startup_message({}, make_protocol_version(2, 0)), StartupDefect::unsupported_version},
        Judged{"MajorVersion4", startup_message({}, make_protocol_version(4, 0)), StartupDefect::unsupported_version},
        Judged{"UnknownRequestCode", startup_message({}, make_protocol_version(1234, 5681)), StartupDefect::unsupported_version},
        Judged{"NoUser", startup_message({{"database", "ledger"}}), StartupDefect::no_user},
        Judged{"EmptyUser", startup_message({{"user", ""}}), StartupDefect::no_user},
        Judged{"LastUserEmpty", startup_message({{"user", "ann"}, {"user", ""}}), StartupDefect::no_user},
        Judged{"UserTwice", startup_message({{"user", "ann"}, {"user", "postgres"}}), StartupDefect::duplicate_parameter},
        Judged{"UserTwiceTheSame", startup_message({{"user", "ann"}, {"user", "ann"}}), StartupDefect::duplicate_parameter},
        Judged{"DatabaseTwice", startup_message({{"user", "ann"}, {"database", "a"}, {"database", "b"}}), StartupDefect::duplicate_parameter},
        Judged{"OptionsTwice", startup_message({{"user", "ann"}, {"options", ""}, {"options", ""}}), StartupDefect::duplicate_parameter},
        Judged{"ReplicationTwice", startup_message({{"user", "ann"}, {"replication", "0"}, {"replication", "1"}}), StartupDefect::duplicate_parameter},
        Judged{"UserTooLong", startup_message({{"user", kNameTooLong}, {"database", "ledger"}}), StartupDefect::name_too_long},
        Judged{"DatabaseTooLong", startup_message({{"user", "ann"}, {"database", kNameTooLong}}), StartupDefect::name_too_long},
        Judged{"ReplicationBeforeNoUserAsTheServerReports", startup_message({{"replication", "maybe"}}), StartupDefect::invalid_replication},
        Judged{"FirstOfTwoReplications", startup_message({{"user", "ann"}, {"replication", "maybe"}, {"replication", "1"}}), StartupDefect::invalid_replication}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class ReplicationValue : public testing::TestWithParam<const char*> {
 protected:
  static std::optional<StartupDefect> defect() {
    return find_startup_defect(startup_message({{"user", "ann"}, {"replication", GetParam()}}));
  }
};

using ReplicationValueThatTheServerTakes = ReplicationValue;
TEST_P(ReplicationValueThatTheServerTakes, IsTaken) {
  EXPECT_EQ(defect(), std::nullopt);
}
INSTANTIATE_TEST_SUITE_P(Startup, ReplicationValueThatTheServerTakes,
                         testing::Values("true", "tru", "t", "T", "TRUE", "false", "f", "fAl", "yes", "y",
                                         "no", "n", "on", "On", "off", "of", "1", "0", "database"));

using ReplicationValueThatTheServerRefuses = ReplicationValue;
TEST_P(ReplicationValueThatTheServerRefuses, IsRefused) {
  EXPECT_EQ(defect(), StartupDefect::invalid_replication);
}
INSTANTIATE_TEST_SUITE_P(Startup, ReplicationValueThatTheServerRefuses,
                         testing::Values("", "o", "O", "truer", "falsehood", "yesno", "nope", "onn", "offf",
                                         "10", "00", "2", " true", "true ", "Database", "data"));

TEST(EncodedStartupMessage, IsWhatTheServerReads) {
  Bytes out;
  encode_startup_message(startup_message({{"user", "ann"}, {"options", ""}}, kProtocol32), out);
  EXPECT_EQ(out, "0000001b 00030002 'user'00 'ann'00 'options'00 00 00"_wire);
}

TEST(EncodedStartupMessage, ReadsBackAsItWas) {
  const auto message = startup_message({{"user", "ann"}, {"_pq_.x", ""}, {"user", "bob"}, {"a", "\xff\x16"}});
  Bytes out;
  encode_startup_message(message, out);
  EXPECT_EQ(decoded<StartupMessage>(out).parameters, message.parameters);
}

TEST(EncodedStartupMessage, FitsUpToTheServersLimitAndNotAByteMore) {
  // Version, name, two NULs and the terminator take eight bytes of the 10 000.
  auto message = startup_message({{"a", std::string(9'992, 'x')}});
  EXPECT_TRUE(fits_startup_packet(message));
  Bytes out;
  encode_startup_message(message, out);
  EXPECT_EQ(out.size(), 10'004u);

  message.parameters.front().second += 'x';
  EXPECT_FALSE(fits_startup_packet(message));
}

TEST(EncodedCancelRequest, IsWhatTheServerReads) {
  Bytes out;
  encode_cancel_request({42, "deadbeef01"_wire}, out);
  EXPECT_EQ(out, "00000011 04d2162e 0000002a deadbeef01"_wire);
}

TEST(EncodedSslRequest, IsWhatTheServerReads) {
  Bytes out;
  encode_ssl_request(out);
  EXPECT_EQ(out, "00000008 04d2162f"_wire);
}

}  // namespace
}  // namespace pgveil::protocol
