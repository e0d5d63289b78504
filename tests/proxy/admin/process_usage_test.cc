#include "proxy/admin/process_usage.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

TEST(ProcessUsage, IsThatOfThisProcess) {
  const ProcessUsage usage = process_usage();
  EXPECT_GE(usage.processor_seconds, 0);
  EXPECT_GT(usage.max_descriptors, usage.open_descriptors);
  EXPECT_GT(usage.virtual_bytes, usage.resident_bytes);
  EXPECT_GT(usage.resident_bytes, 1'000'000);
  EXPECT_GE(usage.threads, 1);
  EXPECT_GT(usage.started, 1.7e9);
}

TEST(ProcessUsage, CountsDescriptors) {
  const auto before = process_usage().open_descriptors;
  const Descriptor further(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(before.has_value());
  EXPECT_EQ(process_usage().open_descriptors, *before + 1);
}

}  // namespace
}  // namespace pgveil::proxy
