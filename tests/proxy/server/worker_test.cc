#include "proxy/server/worker.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

// A worker in this thread, and clients that send nothing.
class AWorker : public testing::Test {
 protected:
  ~AWorker() override { static_cast<void>(worker_.abandon()); }

  // Returns the client's end.
  Descriptor connect(const std::shared_ptr<ListenerUsage>& usage) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    KernelAddress peer;
    peer.storage.ss_family = AF_UNIX;
    peer.size = sizeof peer.storage.ss_family;
    shared_.unauthenticated_clients.enter();
    usage->unauthenticated_clients.enter();
    worker_.start_session({.id = ++last_id_,
                           .descriptor = Descriptor(ends[0]),
                           .peer = peer,
                           .listener = {snapshot_, 0},
                           .listener_address = "a listener",
                           .usage = usage});
    return Descriptor(ends[1]);
  }
  // Runs the loop until the clients may make room.
  void wait() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1200);
    while (std::chrono::steady_clock::now() < end) uv_run(loop_.get(), UV_RUN_NOWAIT);
  }
  bool is_connected(const Descriptor& client) {
    for (int turns = 0; turns < 3; ++turns) uv_run(loop_.get(), UV_RUN_NOWAIT);
    char byte = 0;
    return ::recv(client.get(), &byte, 1, 0) != 0;
  }

  Loop loop_;
  std::shared_ptr<const Snapshot> snapshot_ = test::snapshot_of(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n[upstream.a]\nhost = \"/nonexistent\"\n");
  SharedState shared_{1, 3, [] {}};
  const std::shared_ptr<ListenerUsage> one_ = std::make_shared<ListenerUsage>([] {});
  const std::shared_ptr<ListenerUsage> other_ = std::make_shared<ListenerUsage>([] {});
  Worker worker_{loop_.get(), 1, shared_, snapshot_, nullptr};
  SessionId last_id_ = 0;
};

TEST_F(AWorker, ClosesTheOldestClientsToMakeRoom) {
  const auto first = connect(one_);
  const auto second = connect(one_);
  const auto third = connect(one_);
  wait();
  worker_.make_room(nullptr, 1);
  EXPECT_FALSE(is_connected(first));
  EXPECT_TRUE(is_connected(second));
  worker_.make_room(nullptr, 1);  // there is room already
  EXPECT_TRUE(is_connected(second));
  EXPECT_TRUE(is_connected(third));
}

TEST_F(AWorker, ClosesNoClientOfAnotherListener) {
  const auto other = connect(other_);
  const auto own = connect(one_);
  one_->unauthenticated_clients.set_max(1);
  wait();
  worker_.make_room(one_.get(), 2);
  EXPECT_TRUE(is_connected(other));
  EXPECT_FALSE(is_connected(own));
}

TEST_F(AWorker, ClosesNoClientThatHasJustCome) {
  one_->unauthenticated_clients.set_max(1);
  const auto client = connect(one_);
  worker_.make_room(one_.get(), 1);
  EXPECT_TRUE(is_connected(client));
}

}  // namespace
}  // namespace pgveil::proxy
