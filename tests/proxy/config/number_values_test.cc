#include "proxy/config/number_values.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

TEST(Durations, AreShownInTheLargestExactUnit) {
  for (const char* text : {"0s", "1ms", "1500ms", "90s", "5min", "36h", "2d"})
    EXPECT_EQ((values::Duration<std::chrono::milliseconds, 0, values::kLongest>::show(
                  *values::Duration<std::chrono::milliseconds, 0, values::kLongest>::read(
                      {values::RawValue::Kind::text, text}))),
              text);
}

}  // namespace
}  // namespace pgveil::proxy
