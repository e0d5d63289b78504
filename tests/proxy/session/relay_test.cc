#include "proxy/session/relay.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/fake_stream.h"

namespace pgveil::proxy {
namespace {

using test::FakeStream;
using End = Relay::End;
using Status = Stream::Status;

constexpr std::size_t kReadSize = 64;

class ARelay : public ::testing::Test {
 protected:
  std::optional<End> advance() { return relay_.advance(scratch_); }

  FakeStream client_;
  FakeStream server_;
  Scratch scratch_{kReadSize};
  Relay relay_{client_, server_, kReadSize};
};

TEST_F(ARelay, PassesBytesOnInBothDirections) {
  client_.incoming = {"query"};
  server_.incoming = {"answer"};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_EQ(server_.written, "query");
  EXPECT_EQ(client_.written, "answer");
  EXPECT_EQ(relay_.bytes_to_server(), 5U);
  EXPECT_EQ(relay_.bytes_to_client(), 6U);
}

TEST_F(ARelay, DoesNotReadASideThatHasNothing) {
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_EQ(client_.reads + server_.reads, 0);
}

TEST_F(ARelay, LeavesTheRestOfABulkTransferForTheNextTurn) {
  server_.incoming = {std::string(100 * kReadSize, 'x')};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_LE(client_.written.size(), 16 * kReadSize);
  EXPECT_GE(client_.written.size(), kReadSize);
}

// For example the end of a TLS connection that arrived together with its last bytes: there is no further
// event for it.
TEST_F(ARelay, LeavesNothingThatTheStreamItselfHolds) {
  server_.incoming = {std::string(kMaxReads * kReadSize, 'x')};
  server_.end = Status::failed;
  server_.held = true;
  EXPECT_EQ(advance(), End::server_lost);
  EXPECT_EQ(client_.written.size(), kMaxReads * kReadSize);
}

TEST_F(ARelay, StopsReadingASideWhoseBytesWait) {
  client_.kernel_room = 10;
  server_.incoming = {std::string(30, 'x'), "more"};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(server_.paused);
  EXPECT_EQ(server_.incoming.size(), 1U);
}

TEST_F(ARelay, GoesOnReadingTheOtherSideMeanwhile) {
  client_.kernel_room = 10;
  server_.incoming = {std::string(30, 'x')};
  EXPECT_EQ(advance(), std::nullopt);
  client_.incoming = {"query"};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_EQ(server_.written, "query");
}

TEST_F(ARelay, StaysPausedWhileMoreThanHalfWaits) {
  client_.kernel_room = 0;
  server_.incoming = {std::string(20, 'x')};
  EXPECT_EQ(advance(), std::nullopt);
  client_.drain(9);
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(server_.paused);
}

TEST_F(ARelay, ResumesOnceHalfIsGone) {
  client_.kernel_room = 0;
  server_.incoming = {std::string(20, 'x')};
  EXPECT_EQ(advance(), std::nullopt);
  client_.drain(10);
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_FALSE(server_.paused);
}

TEST_F(ARelay, GivesTheServersLastWordsBeforeItsEnd) {
  server_.incoming = {"last words"};
  server_.end = Status::ended;
  EXPECT_EQ(advance(), End::server_closed);
  EXPECT_EQ(client_.written, "last words");
}

TEST_F(ARelay, TakesAServerThatClosesBehindTerminateForTheClientsEnd) {
  client_.incoming = {std::string("X\0\0\0\4", 5)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_EQ(server_.written, std::string("X\0\0\0\4", 5));
  server_.end = Status::ended;
  EXPECT_EQ(advance(), End::client_closed);
}

TEST_F(ARelay, TakesNothingButTheLastMessageForTerminate) {
  client_.incoming = {std::string("X\0\0\0\4", 5), "query"};
  server_.end = Status::ended;
  EXPECT_EQ(advance(), End::server_closed);
}

TEST_F(ARelay, KnowsTerminateHoweverItIsCut) {
  client_.incoming = {std::string("X\0\0", 3), std::string("\0\4", 2)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(relay_.client_terminated());
}

TEST_F(ARelay, TakesNoBytesInsideAMessageForTerminate) {
  client_.incoming = {std::string("d\0\0\0\x0e.....X\0\0\0\4", 15)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_FALSE(relay_.in_message_to_server());
  EXPECT_FALSE(relay_.client_terminated());
}

// PostgreSQL would end the session at its next answer, and would not execute the client's earlier bytes.
TEST_F(ARelay, EndsWhenTheServerAnswersAClientThatIsGoneAndWhoseBytesWait) {
  server_.kernel_room = 0;
  client_.incoming = {"query", "another"};
  EXPECT_EQ(advance(), std::nullopt);
  client_.broken = true;
  EXPECT_EQ(advance(), std::nullopt);
  server_.incoming = {"answer"};
  EXPECT_EQ(advance(), End::client_lost);
}

namespace messages {

std::string error(const std::string& severity, const std::string& sqlstate) {
  const std::string body = "S" + severity + '\0' + "V" + severity + '\0' + "C" + sqlstate + '\0' + '\0';
  return std::string("E\0\0\0", 4) + static_cast<char>(body.size() + 4) + body;
}
const std::string kReadyForQuery("Z\0\0\0\5I", 6);

}  // namespace messages

TEST_F(ARelay, KnowsThatTheServerHasGivenUp) {
  server_.incoming = {messages::kReadyForQuery + messages::error("FATAL", "57P01")};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(relay_.server_gave_up());
  EXPECT_EQ(relay_.server_sqlstate(), "57P01");
}

// It is logged.
TEST_F(ARelay, KeepsNoTextOfTheServerInPlaceOfAnSqlstate) {
  for (const char* sqlstate : {"", "5\nP01", "57p01", "57P011"}) {
    server_.incoming = {messages::error("FATAL", sqlstate)};
    EXPECT_EQ(advance(), std::nullopt);
    EXPECT_TRUE(relay_.server_gave_up());
    EXPECT_EQ(relay_.server_sqlstate(), "");
  }
}

TEST_F(ARelay, TakesAnErrorOfAStatementForNoEnd) {
  server_.incoming = {messages::error("ERROR", "42601")};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_FALSE(relay_.server_gave_up());
  server_.incoming = {messages::kReadyForQuery};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_FALSE(relay_.server_gave_up());
}

TEST_F(ARelay, TakesAnErrorThatComesInPiecesForTheLast) {
  const auto error = messages::error("FATAL", "57P01");
  server_.incoming = {error.substr(0, 10), error.substr(10)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(relay_.server_gave_up());
  EXPECT_EQ(relay_.server_sqlstate(), "");
}

TEST_F(ARelay, TellsAServerThatBrokeFromOneThatClosed) {
  server_.end = Status::failed;
  EXPECT_EQ(advance(), End::server_lost);
}

TEST_F(ARelay, EndsAtOnceWhereTheClientBroke) {
  client_.end = Status::failed;
  EXPECT_EQ(advance(), End::client_lost);
}

// No event follows, so the relay must find the failure in the same turn.
TEST_F(ARelay, EndsIfWhatTheClientSentCannotBeWritten) {
  client_.incoming = {"query"};
  server_.fails_to_write = true;
  EXPECT_EQ(advance(), End::server_lost);
}

TEST_F(ARelay, EndsIfWhatTheServerSentCannotBeWritten) {
  server_.incoming = {"answer"};
  client_.fails_to_write = true;
  EXPECT_EQ(advance(), End::client_lost);
}

TEST_F(ARelay, PassesOnTheClientsEndAndWaitsForTheAnswer) {
  client_.incoming = {"last query"};
  client_.end = Status::ended;
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(relay_.client_ended());
  EXPECT_EQ(server_.written, "last query");
  EXPECT_TRUE(server_.finished);

  const std::string last_answer("Z\0\0\0\5I", 6);
  server_.incoming = {last_answer};
  server_.end = Status::ended;
  EXPECT_EQ(advance(), End::client_closed);
  EXPECT_EQ(client_.written, last_answer);
}

TEST_F(ARelay, TakesWhatComesBehindTheClientsEndAndPassesNothingOn) {
  client_.end = Status::ended;
  EXPECT_EQ(advance(), std::nullopt);
  client_.incoming = {"no TLS any more"};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(client_.incoming.empty());
  EXPECT_EQ(server_.written, "");
}

// During the login, only this direction is relayed.
TEST_F(ARelay, PassesOnAnEndInTheLogin) {
  client_.incoming = {"query"};
  client_.end = Status::ended;
  EXPECT_EQ(relay_.advance_to_server(scratch_), Status::blocked);
  EXPECT_TRUE(relay_.client_ended());
  EXPECT_EQ(server_.written, "query");
  EXPECT_TRUE(server_.finished);
  server_.incoming = {"answer"};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_EQ(client_.written, "answer");
}

TEST_F(ARelay, CountsTheServersResetAfterTheClientsEndAsThatEnd) {
  client_.end = Status::ended;
  EXPECT_EQ(advance(), std::nullopt);
  server_.end = Status::failed;
  EXPECT_EQ(advance(), End::client_closed);
}

const std::string kQuery("Q\0\0\0\x05\0", 6);
const std::string kTerminate("X\0\0\0\x04", 5);
const std::string kReady("Z\0\0\0\x05I", 6);
const std::string kFatal("E\0\0\0\x0cSFATAL\0\0", 13);

struct LateEnd {
  const char* name;
  std::string from_client;
  bool client_ends;  // its side of the connection, after that
  std::string from_server;
  Status end_of_server;
  Stream::CloseNotify notify;
  End expected;
};
void PrintTo(const LateEnd& end, std::ostream* out) {
  *out << end.name;
}

class AServerThatCloses : public ARelay, public testing::WithParamInterface<LateEnd> {};

TEST_P(AServerThatCloses, AfterItsClientHasEndedTheSession) {
  const LateEnd& row = GetParam();
  if (!row.from_client.empty()) client_.incoming = {row.from_client};
  client_.end = row.client_ends ? Status::ended : Status::blocked;
  ASSERT_EQ(advance(), std::nullopt);
  if (!row.from_server.empty()) server_.incoming = {row.from_server};
  server_.end = row.end_of_server;
  server_.notify = row.notify;
  EXPECT_EQ(advance(), row.expected);
  EXPECT_EQ(client_.written, row.from_server);
}

using CloseNotify = Stream::CloseNotify;
// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Ends, AServerThatCloses,
    testing::Values(
        LateEnd{"Answered", kQuery, true, kReady, Status::ended, CloseNotify::without_tls, End::client_closed},
        LateEnd{"AnsweredAndTerminated", kQuery + kTerminate, false, kReady, Status::ended, CloseNotify::missing, End::client_closed},
        LateEnd{"NotAnswered", kQuery, true, "", Status::ended, CloseNotify::without_tls, End::server_closed},
        LateEnd{"NotAnsweredAndTerminated", kQuery + kTerminate, false, "", Status::ended, CloseNotify::without_tls, End::server_closed},
        LateEnd{"NotAnsweredOverTls", kQuery, true, "", Status::ended, CloseNotify::missing, End::server_closed},
        LateEnd{"NotAnsweredAndReset", kQuery, true, "", Status::failed, CloseNotify::without_tls, End::server_lost},
        LateEnd{"InsideItsAnswer", kQuery, true, kReady.substr(0, 3), Status::ended, CloseNotify::received, End::server_closed},
        LateEnd{"WithAFatalError", kQuery, true, kFatal, Status::ended, CloseNotify::received, End::server_closed},
        LateEnd{"ThatHasNoticedTheClient", kQuery, true, "", Status::ended, CloseNotify::received, End::client_closed},
        LateEnd{"ThatWasAskedNothing", "", true, "", Status::ended, CloseNotify::missing, End::client_closed},
        LateEnd{"ThatWasAskedHalfAQuestion", kQuery.substr(0, 3), true, "", Status::ended, CloseNotify::missing, End::client_closed}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST_F(ARelay, DoesNotWaitForAnAnswerThatNobodyCanRead) {
  client_.end = Status::ended;
  EXPECT_EQ(advance(), std::nullopt);
  client_.broken = true;
  EXPECT_EQ(advance(), End::client_closed);
}

TEST_F(ARelay, SaysThatTheClientEndedWhereBothHave) {
  client_.end = Status::ended;
  server_.end = Status::ended;
  EXPECT_EQ(advance(), End::client_closed);
}

TEST_F(ARelay, KnowsWhereAMessageToTheClientEnds) {
  const std::string ready_for_query("Z\0\0\0\5I", 6);
  server_.incoming = {ready_for_query.substr(0, 3)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_FALSE(relay_.at_client_boundary());
  server_.incoming = {ready_for_query.substr(3)};
  EXPECT_EQ(advance(), std::nullopt);
  EXPECT_TRUE(relay_.at_client_boundary());
}

// --- bulk ---

class ARelayInBulk : public ::testing::Test {
 protected:
  static constexpr std::size_t kPiece = std::size_t{256} << 10U;

  // Sends from the server, unless `from` is given.
  void send(std::uint64_t bytes) { send(server_, bytes); }
  void send(FakeStream& from, std::uint64_t bytes) {
    for (; bytes > 0; bytes -= std::min<std::uint64_t>(bytes, kPiece)) {
      from.incoming.emplace_back(std::min<std::uint64_t>(bytes, kPiece), 'x');
      EXPECT_EQ(relay_.advance(scratch_), std::nullopt);
    }
  }

  FakeStream client_;
  FakeStream server_;
  Scratch scratch_{kPiece};
  Relay relay_{client_, server_, kPiece};
};

TEST_F(ARelayInBulk, ReadsASideInLargerPiecesOnceItHasSentMuchUnanswered) {
  send(Relay::kBulk - 1);
  EXPECT_FALSE(relay_.in_bulk());
  EXPECT_EQ(server_.wakes_at, 1U);
  send(1);
  EXPECT_TRUE(relay_.in_bulk());
  EXPECT_EQ(server_.wakes_at, Relay::kBulkPiece);
  EXPECT_EQ(client_.wakes_at, 1U);
}

TEST_F(ARelayInBulk, MayBeOfEitherSide) {
  send(client_, Relay::kBulk);
  EXPECT_EQ(client_.wakes_at, Relay::kBulkPiece);
  EXPECT_EQ(server_.wakes_at, 1U);
}

TEST_F(ARelayInBulk, IsNotReachedWhereTheOtherSideSpeaksInBetween) {
  for (int query = 0; query < 5; ++query) {
    send(client_, 1);
    send(Relay::kBulk / 2);
  }
  EXPECT_FALSE(relay_.in_bulk());
}

TEST_F(ARelayInBulk, EndsWhenTheOtherSideSpeaks) {
  send(Relay::kBulk);
  send(client_, 1);
  EXPECT_FALSE(relay_.in_bulk());
  EXPECT_EQ(server_.wakes_at, 1U);
}

TEST_F(ARelayInBulk, LastsAsLongAsSomethingComes) {
  send(Relay::kBulk);
  for (int look = 0; look < 3; ++look) {
    send(1);
    relay_.look_after_bulk();
    EXPECT_TRUE(relay_.in_bulk()) << look;
  }
}

TEST_F(ARelayInBulk, IsOverWhenNothingHasComeBetweenTwoLooks) {
  send(Relay::kBulk);
  send(1);
  relay_.look_after_bulk();
  relay_.look_after_bulk();
  EXPECT_FALSE(relay_.in_bulk());
  EXPECT_EQ(server_.wakes_at, 1U);
  send(Relay::kBulk - 1);  // the count begins again
  EXPECT_FALSE(relay_.in_bulk());
  send(1);
  EXPECT_TRUE(relay_.in_bulk());
}

TEST_F(ARelayInBulk, NeverWaitsForMoreThanHalfOfWhatAReadTakes) {
  Relay small(client_, server_, 16'384);
  for (std::uint64_t sent = 0; sent < Relay::kBulk; sent += 16'384) {
    server_.incoming.emplace_back(16'384, 'x');
    EXPECT_EQ(small.advance(scratch_), std::nullopt);
  }
  EXPECT_EQ(server_.wakes_at, 8'192U);
}

TEST_F(ARelayInBulk, LeavesBothSidesAsTheyWere) {
  send(Relay::kBulk);
  relay_.end_bulk();
  EXPECT_FALSE(relay_.in_bulk());
  EXPECT_EQ(server_.wakes_at, 1U);
}

}  // namespace
}  // namespace pgveil::proxy
