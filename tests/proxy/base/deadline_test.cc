#include "proxy/base/deadline.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

using namespace std::chrono_literals;

struct Owner final : Wakeable {
  void wake() override { woken_at = time_now(); }
  std::chrono::milliseconds woken_at{0};
};

// Keeps the processor busy, as a long callback does. The loop's time does not change meanwhile.
void keep_busy(std::chrono::milliseconds time) {
  const auto end = time_now() + time;
  while (time_now() < end) {
  }
}

class ADeadline : public ::testing::Test {
 protected:
  Loop loop_;
  Owner owner_;
  Deadline deadline_{loop_.get(), owner_};
};

TEST_F(ADeadline, CountsFromTheMomentInWhichItIsSet) {
  uv_update_time(loop_.get());
  keep_busy(60ms);
  const auto set_at = time_now();
  deadline_.set(40ms);
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  EXPECT_TRUE(deadline_.passed());
  EXPECT_GE(owner_.woken_at, set_at + 39ms);  // libuv rounds its time down to whole milliseconds
}

// The loop runs other callbacks, even if the timer's callback takes longer than its delay.
TEST_F(ADeadline, ThatSetsItselfAgainKeepsTheLoopFromNothing) {
  struct Again final : Wakeable {
    void wake() override {
      ++wakes;
      keep_busy(3ms);
      if (wakes < 100) deadline->set(1ms);
    }
    Deadline* deadline = nullptr;
    int wakes = 0;
  } first;
  Again second;
  Deadline first_deadline(loop_.get(), first);
  Deadline second_deadline(loop_.get(), second);
  first.deadline = &first_deadline;
  second.deadline = &second_deadline;
  first_deadline.set(1ms);
  second_deadline.set(1ms);
  keep_busy(2ms);
  uv_run(loop_.get(), UV_RUN_NOWAIT);
  EXPECT_LE(first.wakes + second.wakes, 2);
  first_deadline.clear();
  second_deadline.clear();
}

}  // namespace
}  // namespace pgveil::proxy
