#include "proxy/admin/upstream_verdict.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "proxy/base/deadline.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class UpstreamReadiness : public testing::Test {
 protected:
  // A configuration with this interval of checks, and a startup_timeout of 60 s.
  void configure(const std::string& interval) {
    snapshot_ = test::snapshot_of(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n[upstream.a]\nhost = \"/nonexistent\"\n"
        "[limits]\nstartup_timeout = \"60s\"\n"
        "[admin]\naddress = \"127.0.0.1:0\"\nupstream_check_interval = \"" +
        interval + "\"\n");
  }
  [[nodiscard]] UpstreamStatus& status() const { return *snapshot_->upstreams.at("a")->status; }
  // Returns the reasons so much later.
  [[nodiscard]] std::vector<std::string> reasons_after(milliseconds time) const {
    return why_upstreams_not_ready(*snapshot_, time_now() + time);
  }

  std::shared_ptr<const Snapshot> snapshot_;
};

TEST_F(UpstreamReadiness, NeedsAConnection) {
  configure("10s");
  EXPECT_EQ(reasons_after(seconds(0)),
            std::vector<std::string>{"upstream a: no connection has been made yet"});
  status().note_connected({}, nullptr);
  EXPECT_TRUE(reasons_after(seconds(0)).empty());
  status().note_failed("it is away");
  EXPECT_EQ(reasons_after(seconds(0)), std::vector<std::string>{"upstream a: it is away"});
}

// Two intervals, and the time that a check may take.
TEST_F(UpstreamReadiness, NeedsAConnectionThatIsNotTooOld) {
  configure("10s");
  status().note_connected({}, nullptr);
  EXPECT_TRUE(reasons_after(seconds(79)).empty());
  EXPECT_EQ(reasons_after(seconds(90)),
            std::vector<std::string>{"upstream a: the last connection was made 90 s ago"});
}

TEST_F(UpstreamReadiness, HasNoAgeWithoutChecks) {
  configure("0s");
  status().note_connected({}, nullptr);
  EXPECT_TRUE(reasons_after(seconds(10'000)).empty());
}

}  // namespace
}  // namespace pgveil::proxy
