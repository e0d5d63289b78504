#include "protocol/transaction_tracker.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace pgveil::protocol {
namespace {

// Types of messages in the order in which they pass: the client's after `>`, the server's after `<`. ReadyForQuery is
// followed by its status: "<ZI".
TransactionTracker tracker_after(std::string_view conversation) {
  TransactionTracker tracker;
  bool is_client = false;
  for (std::size_t i = 0; i < conversation.size(); ++i) {
    const char type = conversation[i];
    if (type == '<' || type == '>')
      is_client = type == '>';
    else if (type == ' ')
      continue;
    else if (is_client)
      tracker.on_frontend_message(type);
    else if (type == 'Z')
      tracker.on_backend_message(type, static_cast<std::uint8_t>(conversation[++i]));
    else
      tracker.on_backend_message(type, 0);
  }
  return tracker;
}

struct Conversation {
  const char* name;
  const char* messages;
  bool is_idle;
};
void PrintTo(const Conversation& conversation, std::ostream* out) {
  *out << conversation.messages;
}

class TransactionTrackerTest : public testing::TestWithParam<Conversation> {};

TEST_P(TransactionTrackerTest, KnowsWhetherTheSessionIsIdle) {
  EXPECT_EQ(tracker_after(GetParam().messages).is_idle(), GetParam().is_idle);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Conversations, TransactionTrackerTest,
    testing::Values(
        Conversation{"AfterTheLogin", "", true},
        Conversation{"QueryWithoutAnswer", "> Q", false},
        Conversation{"QueryHalfAnswered", "> Q < T D", false},
        Conversation{"QueryAnswered", "> Q < T D C ZI", true},
        Conversation{"QueryFailed", "> Q < E ZI", true},
        Conversation{"QueryThatBeginsATransaction", "> Q < C ZT", false},
        Conversation{"FailedTransaction", "> Q < C ZT > Q < E ZE", false},
        Conversation{"TransactionEnded", "> Q < C ZT > Q < C ZI", true},
        Conversation{"SecondOfTwoQueriesWithoutAnswer", "> Q Q < C ZI", false},
        Conversation{"TwoQueriesAnswered", "> Q Q < C ZI C ZI", true},
        Conversation{"FunctionCall", "> F < V ZI", true},
        Conversation{"ExtendedWithoutSync", "> P B E", false},
        Conversation{"ExtendedWithFlush", "> P D H < 1 t T", false},
        Conversation{"ExtendedWithSync", "> P B D E S < 1 2 T D C", false},
        Conversation{"ExtendedAnswered", "> P B D E S < 1 2 T D C ZI", true},
        Conversation{"Pipeline", "> P B E S P B E S < 1 2 C ZI", false},
        Conversation{"PipelineAnswered", "> P B E S P B E S < 1 2 C ZI 1 2 C ZI", true},
        Conversation{"ErrorInThePipeline", "> P B E P B E S < 1 2 E ZI", true},
        Conversation{"ErrorSkipsAQueryBeforeSync", "> P Q S < E ZI", true},
        Conversation{"ErrorSkipsOnlyUpToSync", "> P S Q < E ZI", false},
        Conversation{"ErrorSkipsOnlyUpToSyncAndTheQueryIsAnswered", "> P S Q < E ZI C ZI", true},
        Conversation{"ErrorAndThenAQueryThatIsIgnored", "> P H < E > Q", true},
        Conversation{"ErrorAndThenSync", "> P H < E > Q S", false},
        Conversation{"ErrorAndThenSyncAnswered", "> P H < E > Q S < ZI", true},
        Conversation{"CopyOut", "> Q < H d d c C ZI", true},
        Conversation{"CopyIn", "> Q < G > d d", false},
        Conversation{"CopyInDone", "> Q < G > d d c < C ZI", true},
        Conversation{"CopyInFailedByTheClient", "> Q < G > d f < E ZI", true},
        Conversation{"CopyInFailedByTheServer", "> Q < G > d < E ZI", true},
        Conversation{"CopyInFailedByTheServerWhileTheClientEndsIt", "> Q < G > d < E > c < ZI", true},
        Conversation{"CopyInWithASyncFailedByTheServer", "> Q < G > d S < E ZI > Q < ZI", false},
        Conversation{"CopyInWithSyncs", "> Q < G > d S d S c < C ZI", true},
        Conversation{"CopyInThatTheClientHasAlreadySent", "> Q d c < G C ZI", true},
        // As libpq: a Sync directly after Execute is swallowed.
        Conversation{"ExtendedCopyIn", "> P B E S < 1 2 G > d c S", false},
        Conversation{"ExtendedCopyInDone", "> P B E S < 1 2 G > d c S < C ZI", true},
        Conversation{"ExtendedCopyInSentAhead", "> P B E S d c S < 1 2 G C ZI", true},
        Conversation{"ExtendedCopyInFailedByTheServer", "> P B E S < 1 2 G > d < E", false},
        Conversation{"EndOfACopyThatNeverBegan", "> c f", true},
        Conversation{"Replication", "> Q < W d d", false},
        Conversation{"ReplicationEnded", "> Q < W d > c < c C ZI", true},
        Conversation{"Notification", "> Q < C ZI A N S", true},
        Conversation{"ReadyForQueryThatAnswersNothing", "< ZI", false},
        Conversation{"ReadyForQueryThatAnswersNothingAndThenAQuery", "< ZI > Q < C ZI", true}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct Debt {
  const char* name;
  const char* messages;
  bool is_owed;
};
void PrintTo(const Debt& debt, std::ostream* out) {
  *out << debt.messages;
}

class ReadyForQuery : public testing::TestWithParam<Debt> {};

TEST_P(ReadyForQuery, IsOwedAfterTheseMessages) {
  EXPECT_EQ(tracker_after(GetParam().messages).owes_answer(), GetParam().is_owed);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Conversations, ReadyForQuery,
    testing::Values(
        Debt{"AfterTheLogin", "", false},
        Debt{"Query", "> Q", true},
        Debt{"QueryHalfAnswered", "> Q < T D C", true},
        Debt{"QueryAnswered", "> Q < T D C ZI", false},
        Debt{"QueryInATransactionAnswered", "> Q < C ZT", false},
        Debt{"SecondQuery", "> Q Q < C ZI", true},
        Debt{"QueryBeforeTerminate", "> Q X", true},
        Debt{"FunctionCall", "> F", true},
        Debt{"ExtendedWithoutSync", "> P B E < 1 2 C", false},
        Debt{"ExtendedWithSync", "> P B E S < 1 2 C", true},
        Debt{"ExtendedAfterAnError", "> P B E < E", false},
        Debt{"ExtendedAfterAnErrorWithSync", "> P B E < E > S", true},
        Debt{"CopyInWhoseClientGoesOn", "> Q < G > d", false},
        Debt{"CopyInWhoseClientIsDone", "> Q < G > d c", true},
        Debt{"Replication", "> Q < W d", false},
        Debt{"UnknownAfterAFailedCopy", "> Q < G > d S < E", false}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(TransactionTrackerMemory, IsBounded) {
  TransactionTracker tracker;
  for (int i = 0; i < 1'000'000; ++i) tracker.on_frontend_message('S');
  for (int i = 0; i < 1'000'000; ++i) tracker.on_backend_message('Z', 'I');
  // It is not known which of them are answered: the session is not idle any more.
  EXPECT_FALSE(tracker.is_idle());
}

}  // namespace
}  // namespace pgveil::protocol
