#include "proxy/session/last_message.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

std::string text(const protocol::Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

const Ending kEnding{.reason = Reason::upstream_unreachable, .detail = "The detail.", .hint = "The hint."};

TEST(TheLastMessage, TellsALocalClientEverything) {
  const std::string message = text(last_message(kEnding, ErrorFormat::protocol_3, true));
  EXPECT_NE(message.find("The detail."), std::string::npos);
  EXPECT_NE(message.find("The hint."), std::string::npos);
}

TEST(TheLastMessage, TellsAClientOfTheNetworkTheSentenceOnly) {
  const std::string message = text(last_message(kEnding, ErrorFormat::protocol_3, false));
  EXPECT_NE(message.find(describe(kEnding.reason).message), std::string::npos);
  EXPECT_EQ(message.find("The detail."), std::string::npos);
  EXPECT_EQ(message.find("The hint."), std::string::npos);
}

TEST(TheLastMessage, HasTheFormatThatTheClientReads) {
  EXPECT_EQ(text(last_message(kEnding, ErrorFormat::protocol_3, false)).at(5), 'S');
  EXPECT_EQ(text(last_message(kEnding, ErrorFormat::protocol_2, false)).at(0), 'E');
  EXPECT_TRUE(last_message(kEnding, ErrorFormat::none, true).empty());
}

TEST(TheLastMessage, BeginsWithTheNameOfPgveil) {
  for (const auto format : {ErrorFormat::protocol_3, ErrorFormat::protocol_2})
    for (const bool is_local : {true, false})
      EXPECT_NE(text(last_message(kEnding, format, is_local)).find("pgveil: could not connect to the server"),
                std::string::npos);
  const Ending of_a_rule{.reason = Reason::rejected_by_rule,
                         .message = "no pg_hba.conf entry for host \"::1\""};
  EXPECT_NE(
      text(last_message(of_a_rule, ErrorFormat::protocol_3, false)).find("Mpgveil: no pg_hba.conf entry"),
      std::string::npos);
}

TEST(TheLastMessage, IsEmptyIfThereIsNothingToSay) {
  EXPECT_TRUE(last_message({.reason = Reason::client_closed}, ErrorFormat::protocol_3, true).empty());
}

}  // namespace
}  // namespace pgveil::proxy
