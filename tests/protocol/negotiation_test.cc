#include "protocol/negotiation.h"

#include <gtest/gtest.h>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::with_length;
using test::operator""_wire;
using test::operator+;
using Event = Negotiation::Event;

const Bytes kSslRequest = "00000008 04d2162f"_wire;
const Bytes kGssEncRequest = "00000008 04d21630"_wire;
const Bytes kCancel = "00000010 04d2162e 0000002a deadbeef"_wire;
const Bytes kStartup = with_length("00030000 'user'00 'ann'00 00"_wire);
const Bytes kTlsRecord = "16 0301 0200"_wire;

constexpr std::string_view kStuffingDetail =
    "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.";

// A negotiation with its client: the received bytes, the replies, and the unread bytes.
class Client {
 public:
  explicit Client(NegotiationPolicy policy) : negotiation(policy) {}

  // Bytes arrive from the network, after those that an earlier call has left.
  Event sends(const Bytes& bytes) {
    unread = unread + bytes;
    ByteReader in(unread);
    const Event event = negotiation.advance(in, answers);
    unread = Bytes(in.rest().begin(), in.rest().end());
    return event;
  }

  Event sends_byte_by_byte(const Bytes& bytes) {
    Event event = Event::more;
    for (const std::uint8_t byte : bytes) {
      EXPECT_EQ(event, Event::more);
      event = sends({byte});
    }
    return event;
  }

  [[nodiscard]] std::string answered() const { return std::string(as_text(answers)); }

  Negotiation negotiation;
  Bytes answers;
  Bytes unread;
};

constexpr NegotiationPolicy kPlaintext{};
constexpr NegotiationPolicy kTls{.tls = true, .direct_tls = true};

// Returns a client inside TLS that began with an SSLRequest, or with a TLS record.
Client inside_tls(bool direct) {
  Client client(kTls);
  EXPECT_EQ(client.sends(direct ? kTlsRecord : kSslRequest), Event::accept_tls);
  client.unread.clear();  // the engine has consumed it
  client.answers.clear();
  client.negotiation.tls_established();
  return client;
}

void expect_failure(const Client& client, NegotiationFailure failure, std::string_view message) {
  EXPECT_EQ(client.negotiation.failure(), failure);
  EXPECT_EQ(client.negotiation.failure_message(), message);
}

TEST(Negotiation, WaitsForTheFirstByte) {
  Client client(kTls);
  EXPECT_EQ(client.sends({}), Event::more);
  EXPECT_EQ(client.answered(), "");
}

TEST(Negotiation, TakesAStartupMessageAtOnce) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kStartup), Event::startup);
  EXPECT_EQ(client.negotiation.startup().user(), "ann");
  EXPECT_EQ(client.answered(), "");
}

TEST(Negotiation, LeavesWhatCameBehindTheStartupMessage) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kStartup + "'p'"_wire), Event::startup);
  EXPECT_EQ(client.unread, "'p'"_wire);
}

TEST(Negotiation, LeavesWhatCameBehindACancelRequest) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kCancel + kStartup), Event::cancel);
  EXPECT_EQ(client.unread, kStartup);
}

TEST(Negotiation, ReadsNothingBehindTheStartupMessageEvenWhenAskedAgain) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kStartup), Event::startup);
  EXPECT_EQ(client.sends(with_length("00030000 'user'00 'postgres'00 00"_wire)), Event::startup);
  EXPECT_EQ(client.negotiation.startup().user(), "ann");
}

TEST(Negotiation, RefusesTlsWhereTheListenerHasNone) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kSslRequest), Event::more);
  EXPECT_EQ(client.answered(), "N");
}

TEST(Negotiation, AcceptsTlsWhereTheListenerHasIt) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kSslRequest), Event::accept_tls);
  EXPECT_EQ(client.answered(), "S");
  EXPECT_FALSE(client.negotiation.direct_tls());
}

TEST(Negotiation, IsInsideTlsOnlyOnceTheHandshakeIsDone) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kSslRequest), Event::accept_tls);
  EXPECT_FALSE(client.negotiation.inside_tls());
  client.negotiation.tls_established();
  EXPECT_TRUE(client.negotiation.inside_tls());
}

TEST(Negotiation, AlwaysRefusesGssapiEncryption) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kGssEncRequest), Event::more);
  EXPECT_EQ(client.answered(), "N");
}

TEST(Negotiation, KnowsWhichRequestItDeclinedLast) {
  using Declined = Negotiation::Declined;
  Client client(kPlaintext);
  EXPECT_EQ(client.negotiation.declined(), Declined::nothing);
  EXPECT_EQ(client.sends(kGssEncRequest), Event::more);
  EXPECT_EQ(client.negotiation.declined(), Declined::gss);
  EXPECT_EQ(client.sends(kSslRequest), Event::more);
  EXPECT_EQ(client.negotiation.declined(), Declined::tls);
  EXPECT_EQ(inside_tls(false).negotiation.declined(), Declined::nothing);
}

TEST(Negotiation, OpensTlsAtATlsRecordAndLeavesTheRecordToTheHandshake) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kTlsRecord), Event::accept_tls);
  EXPECT_TRUE(client.negotiation.direct_tls());
  EXPECT_EQ(client.unread, kTlsRecord);
  EXPECT_EQ(client.answered(), "");
}

TEST(Negotiation, OpensTlsAtTheFirstByteOfATlsRecord) {
  Client client(kTls);
  EXPECT_EQ(client.sends("16"_wire), Event::accept_tls);
}

TEST(Negotiation, FailsAtATlsRecordWhereDirectTlsIsNotOffered) {
  Client client({.tls = true, .direct_tls = false});
  EXPECT_EQ(client.sends(kTlsRecord), Event::failed);
  EXPECT_EQ(client.negotiation.failure(), NegotiationFailure::direct_tls_not_offered);
  EXPECT_EQ(client.answered(), "");
}

TEST(Negotiation, TakesATlsRecordOnlyAsTheVeryFirstBytes) {
  Client client({.tls = false, .direct_tls = true});
  EXPECT_EQ(client.sends(kSslRequest), Event::more);
  EXPECT_EQ(client.sends(kTlsRecord), Event::failed);
  EXPECT_EQ(client.negotiation.failure(), NegotiationFailure::malformed_packet);
}

TEST(Negotiation, TakesNoTlsRecordInsideTls) {
  for (const bool direct : {false, true}) {
    Client client = inside_tls(direct);
    EXPECT_EQ(client.sends(kTlsRecord), Event::failed) << direct;
    EXPECT_EQ(client.negotiation.failure(), NegotiationFailure::malformed_packet) << direct;
  }
}

// --- where a conversation may end ---

struct Point {
  const char* name;
  NegotiationPolicy policy;
  std::vector<Bytes> before;  // each arrives separately, and gets a reply
  std::string answers;
};

const std::vector<Point> kPoints = {
    {"AtOnce", kTls, {}, ""},
    {"AfterRefusedSsl", kPlaintext, {kSslRequest}, "N"},
    {"AfterRefusedGss", kTls, {kGssEncRequest}, "N"},
    {"AfterRefusedSslAndGss", kPlaintext, {kSslRequest, kGssEncRequest}, "NN"},
    {"AfterRefusedGssAndSsl", kPlaintext, {kGssEncRequest, kSslRequest}, "NN"},
    {"InsideTls", kTls, {kSslRequest}, "S"},
    {"InsideTlsAfterRefusedGss", kTls, {kGssEncRequest, kSslRequest}, "NS"},
    {"InsideDirectTls", kTls, {kTlsRecord}, ""},
    {"InsideDirectTlsAfterRefusedSsl", kTls, {kTlsRecord, kSslRequest}, "N"},
    {"InsideDirectTlsAfterRefusedGss", kTls, {kTlsRecord, kGssEncRequest}, "N"},
    {"InsideDirectTlsAfterBoth", kTls, {kTlsRecord, kGssEncRequest, kSslRequest}, "NN"},
};

class NegotiationPoint : public testing::TestWithParam<Point> {
 protected:
  NegotiationPoint() : client_(GetParam().policy) {
    for (const Bytes& arrival : GetParam().before) {
      const Event event = client_.sends(arrival);
      EXPECT_NE(event, Event::failed);
      if (event != Event::accept_tls) continue;
      client_.unread.clear();
      client_.negotiation.tls_established();
    }
    EXPECT_EQ(client_.answered(), GetParam().answers);
  }

  Client client_;
};

TEST_P(NegotiationPoint, IsReachedByteByByte) {
  Client client(GetParam().policy);
  for (const Bytes& arrival : GetParam().before) {
    // The negotiation reads one byte of a TLS record; the rest belongs to the handshake.
    const Event event = client.sends_byte_by_byte(arrival == kTlsRecord ? "16"_wire : arrival);
    if (event != Event::accept_tls) continue;
    client.unread.clear();
    client.negotiation.tls_established();
  }
  EXPECT_EQ(client.answered(), GetParam().answers);
  EXPECT_EQ(client.sends_byte_by_byte(kStartup), Event::startup);
}

TEST_P(NegotiationPoint, TakesAStartupMessage) {
  EXPECT_EQ(client_.sends(kStartup), Event::startup);
}

TEST_P(NegotiationPoint, TakesAStartupMessageByteByByte) {
  EXPECT_EQ(client_.sends_byte_by_byte(kStartup), Event::startup);
}

TEST_P(NegotiationPoint, TakesACancelRequest) {
  EXPECT_EQ(client_.sends(kCancel), Event::cancel);
  EXPECT_EQ(client_.negotiation.cancel().process_id, 42u);
  EXPECT_EQ(client_.negotiation.cancel().key, "deadbeef"_wire);
  EXPECT_EQ(client_.answered(), GetParam().answers);
}

TEST_P(NegotiationPoint, EndsAtABadLengthWithoutAnAnswer) {
  EXPECT_EQ(client_.sends("00002715"_wire), Event::failed);
  expect_failure(client_, NegotiationFailure::malformed_packet, "invalid length of startup packet");
  EXPECT_EQ(client_.answered(), GetParam().answers);
}

INSTANTIATE_TEST_SUITE_P(Negotiation, NegotiationPoint, testing::ValuesIn(kPoints),
                         [](const auto& row) { return std::string(row.param.name); });

// --- every order and repetition of the two requests ---

struct Sequence {
  const char* name;
  bool tls;
  bool direct;           // inside direct TLS from the start
  std::string requests;  // s: SSLRequest, g: GSSENCRequest
  std::string answers;   // N, S, or X: this request is not allowed
};

class RequestSequence : public testing::TestWithParam<Sequence> {};

TEST_P(RequestSequence, IsAnsweredAsTheServerAnswersIt) {
  const auto& [name, tls, direct, requests, answers] = GetParam();
  Client client = direct ? inside_tls(true) : Client({.tls = tls, .direct_tls = false});
  std::string seen;
  for (const char request : requests) {
    const std::size_t answered = client.answers.size();
    const Event event = client.sends(request == 's' ? kSslRequest : kGssEncRequest);
    if (event == Event::accept_tls) client.negotiation.tls_established();
    seen += event == Event::failed ? "X" : client.answered().substr(answered);
    if (event != Event::failed) continue;
    expect_failure(client, NegotiationFailure::unsupported_version,
                   request == 's' ? "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"
                                  : "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2");
    EXPECT_FALSE(client.negotiation.wants_old_error());
    EXPECT_EQ(client.answers.size(), answered);
  }
  EXPECT_EQ(seen, answers);
}

INSTANTIATE_TEST_SUITE_P(Negotiation, RequestSequence,
                         testing::Values(Sequence{"PlaintextSslSsl", false, false, "ss", "NX"},
                                         Sequence{"PlaintextGssGss", false, false, "gg", "NX"},
                                         Sequence{"PlaintextSslGssSsl", false, false, "sgs", "NNX"},
                                         Sequence{"PlaintextSslGssGss", false, false, "sgg", "NNX"},
                                         Sequence{"PlaintextGssSslGss", false, false, "gsg", "NNX"},
                                         Sequence{"PlaintextGssSslSsl", false, false, "gss", "NNX"},
                                         Sequence{"TlsSslSsl", true, false, "ss", "SX"},
                                         Sequence{"TlsSslGss", true, false, "sg", "SX"},
                                         Sequence{"TlsGssGss", true, false, "gg", "NX"},
                                         Sequence{"TlsGssSslSsl", true, false, "gss", "NSX"},
                                         Sequence{"TlsGssSslGss", true, false, "gsg", "NSX"},
                                         Sequence{"DirectSslSsl", true, true, "ss", "NX"},
                                         Sequence{"DirectGssGss", true, true, "gg", "NX"},
                                         Sequence{"DirectSslGssSsl", true, true, "sgs", "NNX"},
                                         Sequence{"DirectGssSslGss", true, true, "gsg", "NNX"}),
                         [](const auto& row) { return std::string(row.param.name); });

// --- bytes inserted before TLS ---

class Stuffing : public testing::TestWithParam<Bytes> {};

TEST_P(Stuffing, BehindARefusedSslRequestIsReportedAfterTheAnswer) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kSslRequest + GetParam()), Event::failed);
  expect_failure(client, NegotiationFailure::unencrypted_data_after_ssl_request,
                 "received unencrypted data after SSL request");
  EXPECT_EQ(client.negotiation.failure_detail(), kStuffingDetail);
  EXPECT_EQ(client.answered(), "N");
}

TEST_P(Stuffing, BehindASslRequestInsideDirectTlsIsReportedAfterTheAnswer) {
  Client client = inside_tls(true);
  EXPECT_EQ(client.sends(kSslRequest + GetParam()), Event::failed);
  EXPECT_EQ(client.negotiation.failure(), NegotiationFailure::unencrypted_data_after_ssl_request);
  EXPECT_EQ(client.answered(), "N");
}

TEST_P(Stuffing, BehindAGssEncRequestIsReportedAfterTheAnswer) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kGssEncRequest + GetParam()), Event::failed);
  expect_failure(client, NegotiationFailure::unencrypted_data_after_gss_request,
                 "received unencrypted data after GSSAPI encryption request");
  EXPECT_EQ(client.negotiation.failure_detail(), kStuffingDetail);
  EXPECT_EQ(client.answered(), "N");
}

TEST_P(Stuffing, IsNeverReadAfterTheFailure) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(kGssEncRequest + GetParam()), Event::failed);
  EXPECT_EQ(client.sends({}), Event::failed);
  EXPECT_EQ(client.unread, GetParam());
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Negotiation, Stuffing,
    testing::Values("00"_wire, kStartup, kCancel, kSslRequest, kGssEncRequest, kTlsRecord));
// clang-format on

class StuffingBehindAcceptedTls : public testing::TestWithParam<Bytes> {};

TEST_P(StuffingBehindAcceptedTls, IsReportedInPlaceOfTheAnswer) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kSslRequest + GetParam()), Event::failed);
  expect_failure(client, NegotiationFailure::unencrypted_data_after_ssl_request,
                 "received unencrypted data after SSL request");
  EXPECT_EQ(client.negotiation.failure_detail(), kStuffingDetail);
  EXPECT_EQ(client.answered(), "");
}

INSTANTIATE_TEST_SUITE_P(Negotiation, StuffingBehindAcceptedTls,
                         testing::Values("00"_wire, kStartup, kCancel, kSslRequest, kGssEncRequest));

TEST(Negotiation, LeavesAClientHelloBehindAnAcceptedSslRequestToTheHandshake) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kSslRequest + kTlsRecord), Event::accept_tls);
  EXPECT_EQ(client.answered(), "S");
  EXPECT_EQ(client.unread, kTlsRecord);
}

TEST(Negotiation, ReadsNothingBetweenAcceptingTlsAndTheHandshake) {
  Client client(kTls);
  EXPECT_EQ(client.sends(kSslRequest), Event::accept_tls);
  EXPECT_EQ(client.sends(kStartup), Event::accept_tls);
  EXPECT_EQ(client.unread, kStartup);
}

// --- StartupMessages that are refused ---

struct RefusedPacket {
  const char* name;
  Bytes packet;
  NegotiationFailure failure;
  const char* message;
};

class RefusedStartup : public testing::TestWithParam<RefusedPacket> {};

TEST_P(RefusedStartup, SaysWhyInTheServersWords) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(GetParam().packet), Event::failed);
  expect_failure(client, GetParam().failure, GetParam().message);
  EXPECT_EQ(client.answered(), "");
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Negotiation, RefusedStartup,
    testing::Values(
        RefusedPacket{"Version4", with_length("00040000 00"_wire), NegotiationFailure::unsupported_version,
                      "unsupported frontend protocol 4.0: server supports 3.0 to 3.2"},
        RefusedPacket{"Version2", with_length("00020000"_wire), NegotiationFailure::unsupported_version,
                      "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
        RefusedPacket{"Layout", with_length("00030000 'user'00 'ann'00"_wire), NegotiationFailure::bad_layout,
                      "invalid startup packet layout: expected terminator as last byte"},
        RefusedPacket{"NoUser", with_length("00030000 00"_wire), NegotiationFailure::no_user,
                      "no PostgreSQL user name specified in startup packet"},
        RefusedPacket{"CancelWithoutKey", with_length("04d2162e 0000002a"_wire), NegotiationFailure::malformed_packet,
                      "invalid length of startup packet"},
        RefusedPacket{"TwoUsers", with_length("00030000 'user'00 'ann'00 'user'00 'postgres'00 00"_wire), NegotiationFailure::duplicate_parameter,
                      "invalid startup packet: a parameter that decides about access stands twice"},
        RefusedPacket{"LongUser", with_length("00030000 'user'00"_wire + test::repeated('u', 64) + "00 00"_wire), NegotiationFailure::name_too_long,
                      "invalid startup packet: the user or database name is longer than 63 bytes"},
        RefusedPacket{"Replication", with_length("00030000 'user'00 'ann'00 'replication'00 'maybe'00 00"_wire), NegotiationFailure::invalid_replication,
                      "invalid value for parameter \"replication\""}),
    [](const auto& row) { return std::string(row.param.name); });
// clang-format on

TEST(Negotiation, HintsAtTheValuesThatReplicationMayHave) {
  Client client(kPlaintext);
  EXPECT_EQ(client.sends(with_length("00030000 'user'00 'ann'00 'replication'00 'maybe'00 00"_wire)),
            Event::failed);
  EXPECT_EQ(client.negotiation.failure_hint(), R"(Valid values are: "false", 0, "true", 1, "database".)");
}

TEST(Negotiation, WantsAnOldErrorOnlyForAMajorVersionBelow3) {
  const std::pair<Bytes, bool> rows[] = {{"00000000"_wire, false}, {"00000001"_wire, true},
                                         {"00010000"_wire, true},  {"00020000"_wire, true},
                                         {"0002ffff"_wire, true},  {"00030000 00"_wire, false},
                                         {"00040000"_wire, false}, {"04d21631"_wire, false}};
  for (const auto& [packet, old] : rows) {
    Client client(kPlaintext);
    EXPECT_EQ(client.sends(with_length(packet)), Event::failed);
    EXPECT_EQ(client.negotiation.wants_old_error(), old) << client.negotiation.failure_message();
  }
}

}  // namespace
}  // namespace pgveil::protocol
