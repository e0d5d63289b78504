#include "proxy/session/unauthenticated_clients.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace pgveil::proxy {
namespace {

struct Counted {
  int calls = 0;
  UnauthenticatedClients unauthenticated_clients{2, [this] { ++calls; }};
};

TEST(UnauthenticatedClients, AreFullAtTheirLimit) {
  Counted counted;
  counted.unauthenticated_clients.enter();
  EXPECT_FALSE(counted.unauthenticated_clients.is_full());
  counted.unauthenticated_clients.enter();
  EXPECT_TRUE(counted.unauthenticated_clients.is_full());
  counted.unauthenticated_clients.leave();
  EXPECT_FALSE(counted.unauthenticated_clients.is_full());
}

TEST(UnauthenticatedClients, TellOnceWhoeverHasFoundThemFull) {
  Counted counted;
  counted.unauthenticated_clients.enter();
  counted.unauthenticated_clients.enter();
  EXPECT_TRUE(counted.unauthenticated_clients.is_full());
  EXPECT_TRUE(counted.unauthenticated_clients.is_full());
  counted.unauthenticated_clients.leave();
  counted.unauthenticated_clients.leave();
  EXPECT_EQ(counted.calls, 1);
}

TEST(UnauthenticatedClients, TellNobodyWhoHasNotAsked) {
  Counted counted;
  counted.unauthenticated_clients.enter();
  counted.unauthenticated_clients.enter();
  counted.unauthenticated_clients.leave();
  EXPECT_EQ(counted.calls, 0);
}

// is_full() returned true, so when_room must be called, at whatever time the second thread calls leave().
TEST(UnauthenticatedClients, MissNobodyWhileOthersLeave) {
  std::atomic<int> told{0};
  UnauthenticatedClients unauthenticated_clients(1, [&] { ++told; });
  int full = 0;
  for (int round = 0; round < 2'000; ++round) {
    unauthenticated_clients.enter();
    std::thread other([&] { unauthenticated_clients.leave(); });
    const int before = told;
    if (unauthenticated_clients.is_full()) {
      ++full;
      while (told == before) std::this_thread::yield();
    }
    other.join();
  }
  EXPECT_GE(told, full);
}

}  // namespace
}  // namespace pgveil::proxy
