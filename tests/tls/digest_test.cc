#include "tls/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace pgveil::tls {
namespace {

TEST(RandomBytes, AreOthersEachTime) {
  std::array<std::uint8_t, 32> one{};
  std::array<std::uint8_t, 32> other{};
  fill_random(one);
  fill_random(other);
  EXPECT_NE(one, other);
}

TEST(Wiping, OverwritesBytes) {
  std::array<std::uint8_t, 8> secret{1, 2, 3, 4, 5, 6, 7, 8};
  wipe(secret);
  EXPECT_TRUE(std::all_of(secret.begin(), secret.end(), [](auto byte) { return byte == 0; }));
}

TEST(Wiping, OverwritesAStringBeforeItIsEmptied) {
  std::string secret(100, 'x');  // too long to stand inside the string object itself
  const char* place = secret.data();
  wipe(secret);
  EXPECT_EQ(secret, "");
  EXPECT_EQ(std::count(place, place + 100, 'x'), 0);  // clear() gives no memory back
}

}  // namespace
}  // namespace pgveil::tls
