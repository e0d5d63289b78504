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

TEST(Rates, AreShownAsTheyAreWritten) {
  for (const char* text : {"1/s", "20/min", "1000000/h", "3/d"})
    EXPECT_EQ(values::RateValue::show(*values::RateValue::read({.text = text})), text);
  EXPECT_EQ(values::RateValue::show({}), "");
}

TEST(Rates, NeedANumberAndAUnitOfTime) {
  for (const char* text : {"20", "20/", "/min", "20/ms", "20 / min", "-1/s", "1/month", "0/s", "1000001/s"})
    EXPECT_FALSE(values::RateValue::read({.text = text}).has_value()) << text;
}

}  // namespace
}  // namespace pgveil::proxy
