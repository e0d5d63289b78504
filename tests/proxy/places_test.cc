#include "proxy/places.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace pgveil::proxy {
namespace {

TEST(Places, AreTakenUntilThereAreNone) {
  Places places;
  EXPECT_TRUE(places.take(2));
  EXPECT_TRUE(places.take(2));
  EXPECT_FALSE(places.take(2));
  EXPECT_EQ(places.taken(), 2U);
}

TEST(Places, ThatAreGivenBackAreFree) {
  Places places;
  EXPECT_TRUE(places.take(1));
  places.give_back();
  EXPECT_TRUE(places.take(1));
}

TEST(Places, AreNeverMoreThanThereAreForThreadsThatHurry) {
  constexpr std::size_t kMost = 3;
  Places places;
  std::atomic<std::size_t> holders{0};
  std::atomic<bool> too_many{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 20'000; ++round) {
        if (!places.take(kMost)) continue;
        if (++holders > kMost) too_many = true;
        --holders;
        places.give_back();
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(too_many);
  EXPECT_EQ(places.taken(), 0U);
}

TEST(Places, AreAllGivenToThreadsThatHurry) {
  constexpr std::size_t kMost = 1000;
  Places places;
  std::atomic<std::size_t> got{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (std::size_t round = 0; round < kMost; ++round)
        if (places.take(kMost)) ++got;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(got, kMost);
}

}  // namespace
}  // namespace pgveil::proxy
