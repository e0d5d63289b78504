#include "proxy/session/keyed_counts.h"

#include <gtest/gtest.h>

#include <string>

namespace pgveil::proxy {
namespace {

TEST(KeyedCounts, HaveAMaximumForEachKey) {
  KeyedCounts<std::string> counts;
  EXPECT_TRUE(counts.acquire("ann", 2));
  EXPECT_TRUE(counts.acquire("ann", 2));
  EXPECT_FALSE(counts.acquire("ann", 2));
  EXPECT_TRUE(counts.acquire("bob", 2));
}

TEST(KeyedCounts, KeepNothingForAKeyWithoutACount) {
  KeyedCounts<std::string> counts;
  EXPECT_FALSE(counts.acquire("ann", 0));
  EXPECT_TRUE(counts.acquire("ann", 2));
  EXPECT_TRUE(counts.acquire("ann", 2));
  counts.release("ann");
  EXPECT_EQ(counts.size(), 1U);
  counts.release("ann");
  EXPECT_EQ(counts.size(), 0U);
}

}  // namespace
}  // namespace pgveil::proxy
