#include "proxy/config/values.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

TEST(Nearest, FindsSwappedMissingAndWrongLetters) {
  for (const char* word : {"lsitener", "listner", "listenes"})
    EXPECT_EQ(values::nearest(word, {"upstream", "listener"}), "listener") << word;
  EXPECT_EQ(values::nearest("sslclr", {"sslcert", "sslcrl"}), "sslcrl");
  EXPECT_EQ(values::nearest("database", {"upstream", "listener"}), "");
}

TEST(InQuotes, ShowsControlBytesInHexadecimal) {
  EXPECT_EQ(values::in_quotes("a\n\x7f\""), "\"a\\x0a\\x7f\"\"");
}

}  // namespace
}  // namespace pgveil::proxy
