#include "proxy/session/session_limit.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace pgveil::proxy {
namespace {

TEST(SessionLimit, AreTakenUntilThereAreNone) {
  SessionLimit places;
  EXPECT_TRUE(places.acquire(2));
  EXPECT_TRUE(places.acquire(2));
  EXPECT_FALSE(places.acquire(2));
  EXPECT_EQ(places.taken(), 2U);
}

TEST(SessionLimit, ThatAreGivenBackAreFree) {
  SessionLimit places;
  EXPECT_TRUE(places.acquire(1));
  places.release();
  EXPECT_TRUE(places.acquire(1));
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

TEST(SessionLimit, AreNeverMoreThanThereAreForThreadsThatHurry) {
  SessionLimit places;
  std::atomic<int> holders{0};
  std::atomic<bool> too_many{false};
  hurry([&] {
    for (int round = 0; round < 2'000'000; ++round) {
      if (!places.acquire(1)) continue;
      if (++holders > 1) too_many = true;
      --holders;
      places.release();
    }
  });
  EXPECT_FALSE(too_many);
  EXPECT_EQ(places.taken(), 0U);
}

TEST(SessionLimit, AreAllGivenToThreadsThatHurry) {
  constexpr std::size_t kMaxSessions = 400'000;
  SessionLimit places;
  std::atomic<std::size_t> got{0};
  hurry([&] {
    for (std::size_t round = 0; round < kMaxSessions; ++round)
      if (places.acquire(kMaxSessions)) ++got;
  });
  EXPECT_EQ(got, kMaxSessions);
}

}  // namespace
}  // namespace pgveil::proxy
