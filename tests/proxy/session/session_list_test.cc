#include "proxy/session/session_list.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

TEST(SessionName, NamesTheRunAndTheSession) {
  EXPECT_EQ(session_name((SessionId{0x7f3a} << 32U) + 0x2b), "7f3a-2b");
  EXPECT_EQ(session_name(1), "0000-1");
}

TEST(SessionName, IsReadAsItWasWritten) {
  for (const SessionId id : {SessionId{1}, (SessionId{0x7f3a} << 32U) + 0x2b, ~SessionId{0}})
    EXPECT_EQ(session_id(session_name(id)), id);
}

TEST(SessionName, IsNothingElse) {
  for (const char* text :
       {"", "-", "7f3a", "7f3a-", "-2b", "7f3a-2b-1", "7f3a-2g", "+1-2", "1-100000000", " 1-2"})
    EXPECT_EQ(session_id(text), std::nullopt) << text;
}

}  // namespace
}  // namespace pgveil::proxy
