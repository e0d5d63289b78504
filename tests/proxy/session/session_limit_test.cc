#include "proxy/session/session_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
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

// Runs `work` in several threads, which begin at the same time.
template <class Work>
void hurry(Work work) {
  constexpr int kThreads = 4;
  std::latch start(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      work();
    });
  for (auto& thread : threads) thread.join();
}

TEST(Places, AreNeverMoreThanThereAreForThreadsThatHurry) {
  Places places;
  std::atomic<int> holders{0};
  std::atomic<bool> too_many{false};
  hurry([&] {
    for (int round = 0; round < 2'000'000; ++round) {
      if (!places.take(1)) continue;
      if (++holders > 1) too_many = true;
      --holders;
      places.give_back();
    }
  });
  EXPECT_FALSE(too_many);
  EXPECT_EQ(places.taken(), 0U);
}

TEST(Places, AreAllGivenToThreadsThatHurry) {
  constexpr std::size_t kMost = 400'000;
  Places places;
  std::atomic<std::size_t> got{0};
  hurry([&] {
    for (std::size_t round = 0; round < kMost; ++round)
      if (places.take(kMost)) ++got;
  });
  EXPECT_EQ(got, kMost);
}

}  // namespace
}  // namespace pgveil::proxy
