#include "proxy/session/newcomers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace pgveil::proxy {
namespace {

struct Counted {
  int calls = 0;
  Newcomers newcomers{2, [this] { ++calls; }};
};

TEST(Newcomers, AreFullAtTheirLimit) {
  Counted counted;
  counted.newcomers.enter();
  EXPECT_FALSE(counted.newcomers.is_full());
  counted.newcomers.enter();
  EXPECT_TRUE(counted.newcomers.is_full());
  counted.newcomers.leave();
  EXPECT_FALSE(counted.newcomers.is_full());
}

TEST(Newcomers, TellOnceWhoeverHasFoundThemFull) {
  Counted counted;
  counted.newcomers.enter();
  counted.newcomers.enter();
  EXPECT_TRUE(counted.newcomers.is_full());
  EXPECT_TRUE(counted.newcomers.is_full());
  counted.newcomers.leave();
  counted.newcomers.leave();
  EXPECT_EQ(counted.calls, 1);
}

TEST(Newcomers, TellNobodyWhoHasNotAsked) {
  Counted counted;
  counted.newcomers.enter();
  counted.newcomers.enter();
  counted.newcomers.leave();
  EXPECT_EQ(counted.calls, 0);
}

// is_full() returned true, so when_room must be called, at whatever time the second thread calls leave().
TEST(Newcomers, MissNobodyWhileOthersLeave) {
  std::atomic<int> told{0};
  Newcomers newcomers(1, [&] { ++told; });
  int full = 0;
  for (int round = 0; round < 2'000; ++round) {
    newcomers.enter();
    std::thread other([&] { newcomers.leave(); });
    const int before = told;
    if (newcomers.is_full()) {
      ++full;
      while (told == before) std::this_thread::yield();
    }
    other.join();
  }
  EXPECT_GE(told, full);
}

}  // namespace
}  // namespace pgveil::proxy
