#include "proxy/session/session_observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/diagnostics/audit.h"
#include "tests/support/audit_file.h"
#include "tests/support/captured_log.h"
#include "tests/support/failing_memory.h"

namespace pgveil::proxy {
namespace {

// Longer than what a string holds without an allocation.
constexpr const char* kClient = "unix:/run/a-directory-with-a-name-of-some-length/client";

struct Outcomes {
  std::vector<std::string> records;
  std::uint64_t lost;
};

bool has(const Outcomes& outcomes, std::string_view outcome) {
  return std::ranges::any_of(
      outcomes.records, [&](const std::string& record) { return record.find(outcome) != std::string::npos; });
}

// Establishes a session, of which an allocation fails, and ends it. Sets `has_failed` to whether there was such an allocation.
Outcomes session_without_memory(int allocations, bool& has_failed) {
  const test::AuditFile file;
  test::CapturedLog log({}, file.config());
  const auto lost_before = lost_audit_records();
  SessionObserver observer;
  observer.note_client(
      {.session = "7f3a-2b", .worker = 1, .address = kClient, .listener = kClient, .upstream = "a"});
  Ending ending{};
  {
    const test::FailingAllocation failing(allocations);
    try {
      observer.establish(true);
    } catch (const std::bad_alloc&) {
      ending.reason = Reason::out_of_memory;
    }
    has_failed = failing.has_failed();
  }
  if (ending.reason == Reason::out_of_memory) observer.audit(ending);
  observer.log_closed(ending, "log_in");
  static_cast<void>(log.lines());
  return {.records = file.records(), .lost = lost_audit_records() - lost_before};
}

TEST(SessionWithoutMemory, HasARecordOfItsEndIfItHasOneOfItsLogin) {
  int refused = 0;
  int ended_early = 0;
  bool has_failed = true;
  for (int allocations = 0; has_failed; ++allocations) {
    const Outcomes outcomes = session_without_memory(allocations, has_failed);
    const bool is_refused = has(outcomes, R"("outcome":"refused","reason":"out_of_memory")");
    const bool has_ended = has(outcomes, R"("outcome":"ended")");
    EXPECT_NE(is_refused, has_ended) << "after " << allocations;
    EXPECT_EQ(outcomes.records.size() + outcomes.lost, is_refused ? 1U : 2U) << "after " << allocations;
    if (has_ended && outcomes.lost == 0) {
      EXPECT_TRUE(has(outcomes, R"("outcome":"accepted")"));
    }
    refused += is_refused ? 1 : 0;
    ended_early += has(outcomes, R"("outcome":"ended","reason":"out_of_memory")") ? 1 : 0;
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(ended_early, 0);
}

// Establishes a session and ends it. An allocation of the end fails, and the end is tried again, if `again`.
Outcomes end_without_memory(int allocations, bool again, bool& has_failed) {
  const test::AuditFile file;
  test::CapturedLog log({}, file.config());
  const auto lost_before = lost_audit_records();
  {
    SessionObserver observer;
    observer.note_client(
        {.session = "7f3a-2b", .worker = 1, .address = kClient, .listener = kClient, .upstream = "a"});
    observer.establish(true);
    const Ending ending{.reason = Reason::upstream_lost, .detail = std::string(200, 'x')};
    try {
      const test::FailingAllocation failing(allocations);
      observer.log_closed(ending, "relay");
      has_failed = failing.has_failed();
    } catch (const std::bad_alloc&) {
      if (again) observer.log_closed(ending, "relay");
    }
  }
  static_cast<void>(log.lines());
  return {.records = file.records(), .lost = lost_audit_records() - lost_before};
}

TEST(SessionWithoutMemory, HasItsEndOnceOrCountsItAsLostOnce) {
  for (const bool again : {true, false}) {
    std::uint64_t lost = 0;
    bool has_failed = true;
    for (int allocations = 0; has_failed; ++allocations) {
      const Outcomes outcomes = end_without_memory(allocations, again, has_failed);
      EXPECT_EQ(outcomes.records.size() + outcomes.lost, 2U) << "after " << allocations;
      lost += outcomes.lost;
    }
    if (!again) {
      EXPECT_GT(lost, 0U);
    }
  }
}

}  // namespace
}  // namespace pgveil::proxy
