#include "proxy/admin/health.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pgveil::proxy {
namespace {

using Reasons = std::vector<std::string>;

ProcessState::Values with_listener() {
  ProcessState::Values values;
  values.listeners.push_back(
      {.address = "127.0.0.1:5432", .upstream = "primary", .usage = nullptr, .limits = {}});
  return values;
}

TEST(Health, HasStartedOnceAListenerIsOpen) {
  EXPECT_EQ(why_not_started({}), Reasons{"no listener is open yet"});
  EXPECT_TRUE(why_not_started(with_listener()).empty());
}

TEST(Health, IsReadyWithAListener) {
  EXPECT_EQ(why_not_ready({}), Reasons{"no listener is open"});
  EXPECT_TRUE(why_not_ready(with_listener()).empty());
}

TEST(Health, IsNotReadyAfterAFailedReloadOrInADrain) {
  auto values = with_listener();
  values.last_reload_failed = true;
  EXPECT_EQ(why_not_ready(values), Reasons{"the last reload failed; the log has the errors"});
  values.is_draining = true;
  EXPECT_EQ(why_not_ready(values).size(), 2U);
  values.last_reload_failed = false;
  EXPECT_EQ(why_not_ready(values), Reasons{"pgveil drains: it stops"});
}

}  // namespace
}  // namespace pgveil::proxy
