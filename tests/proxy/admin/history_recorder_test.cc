#include "proxy/admin/history_recorder.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "proxy/base/handle.h"
#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

// It observes one listener without workers that answer.
class AHistoryRecorder : public testing::Test {
 protected:
  AHistoryRecorder() {
    state_.use(std::make_shared<Snapshot>(),
               {{.address = "127.0.0.1:5432", .upstream = "primary", .usage = usage_, .limits = {}}});
    recorder_.emplace(loop_.get(), process_, surveyor_);
  }
  ~AHistoryRecorder() override {
    recorder_.reset();
    uv_run(loop_.get(), UV_RUN_NOWAIT);
  }
  // Waits until its timer has passed once.
  void wait() { uv_run(loop_.get(), UV_RUN_ONCE); }
  [[nodiscard]] std::vector<SessionSample> samples() const { return recorder_->history().samples(); }

  Loop loop_;
  std::shared_ptr<ListenerUsage> usage_ = std::make_shared<ListenerUsage>([] {}, 0);
  ProcessState state_;
  SharedState shared_{1, 1, [] {}};
  ObservedProcess process_{.state = state_,
                           .shared = shared_,
                           .admin_database = shared_.admin_database,
                           .facts = {},
                           .workers = {},
                           .reload = {},
                           .quit = {}};
  Surveyor surveyor_{process_};
  std::optional<HistoryRecorder> recorder_;
};

TEST_F(AHistoryRecorder, TakesItsFirstSampleSoon) {
  EXPECT_TRUE(samples().empty());
  wait();
  ASSERT_EQ(samples().size(), 1U);
  EXPECT_LT(std::chrono::system_clock::now() - samples().front().time, std::chrono::seconds(20));
}

TEST_F(AHistoryRecorder, LeavesASampleOutIfThereIsNoMemory) {
  const test::FailingAllocation failing(0);
  wait();
  EXPECT_TRUE(failing.has_failed());
  EXPECT_TRUE(samples().empty());
}

}  // namespace
}  // namespace pgveil::proxy
