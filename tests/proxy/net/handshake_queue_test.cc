#include "proxy/net/handshake_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace pgveil::proxy {
namespace {

// A handshake that has to make a step, and makes it as soon as it is permitted.
class QueuedPeer final : public Wakeable {
 public:
  explicit QueuedPeer(HandshakeQueue& queue) : slot_(queue, *this) {}
  void wake() override { try_step(); }
  void try_step() {
    if (slot_.take()) ++steps;
  }
  [[nodiscard]] bool is_in_a_crowd() const { return slot_.is_in_a_crowd(); }

  int steps = 0;

 private:
  HandshakeQueue::Slot slot_;
};

class Turns : public testing::Test {
 protected:
  Turns() {
    for (int i = 0; i < 4; ++i) peers_.push_back(std::make_unique<QueuedPeer>(queue_));
  }
  void turn() { uv_run(loop_.get(), UV_RUN_NOWAIT); }
  [[nodiscard]] std::vector<int> steps() const {
    std::vector<int> all;
    for (const auto& peer : peers_) all.push_back(peer ? peer->steps : -1);
    return all;
  }

  Loop loop_;
  HandshakeQueue queue_{loop_.get()};
  std::vector<std::unique_ptr<QueuedPeer>> peers_;
};

TEST_F(Turns, OneStepIsMadeInATurnInTheOrderOfAsking) {
  for (auto& peer : peers_) peer->try_step();
  EXPECT_EQ(steps(), (std::vector{1, 0, 0, 0}));
  turn();
  EXPECT_EQ(steps(), (std::vector{1, 1, 0, 0}));
  turn();
  EXPECT_EQ(steps(), (std::vector{1, 1, 1, 0}));
  turn();
  EXPECT_EQ(steps(), (std::vector{1, 1, 1, 1}));
}

TEST_F(Turns, WhoAsksAgainWaitsBehindTheOthers) {
  for (auto& peer : peers_) peer->try_step();
  peers_[0]->try_step();
  peers_[0]->try_step();
  for (int i = 0; i < 3; ++i) turn();
  EXPECT_EQ(steps(), (std::vector{1, 1, 1, 1}));
  turn();
  EXPECT_EQ(steps(), (std::vector{2, 1, 1, 1}));
}

TEST_F(Turns, WhoAsksFirstInATurnNeedNotWait) {
  Handle<uv_timer_t> something(new uv_timer_t);  // an active handle, so that the loop runs
  uv_timer_init(loop_.get(), something.get());
  uv_timer_start(
      something.get(), [](uv_timer_t*) {}, 60'000, 0);
  for (int i = 1; i <= 3; ++i) {
    peers_[0]->try_step();
    EXPECT_EQ(peers_[0]->steps, i);
    turn();
  }
}

TEST_F(Turns, WhoIsGoneIsPassedOver) {
  for (auto& peer : peers_) peer->try_step();
  peers_[1].reset();
  turn();
  EXPECT_EQ(steps(), (std::vector{1, -1, 1, 0}));
}

TEST_F(Turns, TheLoopRestsWhereNobodyWaits) {
  peers_[0]->try_step();
  EXPECT_EQ(uv_loop_alive(loop_.get()), 0);
  peers_[1]->try_step();
  EXPECT_EQ(uv_backend_timeout(loop_.get()), 0);  // the loop does not wait for events
  turn();
  turn();
  EXPECT_EQ(uv_loop_alive(loop_.get()), 0);
}

TEST_F(Turns, ManyThatWaitAreACrowd) {
  for (auto& peer : peers_) peer->try_step();
  EXPECT_FALSE(peers_[3]->is_in_a_crowd());
  std::vector<std::unique_ptr<QueuedPeer>> more;
  for (int i = 0; i < 20; ++i) more.push_back(std::make_unique<QueuedPeer>(queue_));
  for (auto& peer : more) peer->try_step();
  EXPECT_TRUE(peers_[3]->is_in_a_crowd());
}

}  // namespace
}  // namespace pgveil::proxy
