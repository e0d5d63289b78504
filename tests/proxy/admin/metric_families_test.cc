#include "proxy/admin/metric_families.h"

#include <gtest/gtest.h>

#include <chrono>

namespace pgveil::proxy {
namespace {

using std::chrono::milliseconds;

std::vector<prometheus::MetricFamily> some_families() {
  DurationHistogram histogram(DurationHistogram::kOfSessions);
  histogram.add(milliseconds(100));
  histogram.add(milliseconds(500));
  histogram.add(std::chrono::hours(48));
  DurationHistogram::Sum sum;
  histogram.add_to(sum);
  std::vector<prometheus::MetricFamily> families;
  families.push_back(
      MetricFamily::counter("a_total", "Counts a \"b\".").add({{"x", "1\n\xe9\"\\"}}, 3).release());
  families.push_back(MetricFamily::gauge("c", "C.").add({}, -1.5).release());
  families.push_back(MetricFamily::histogram("d_seconds", "D.").add({{"x", "y"}}, sum).release());
  return families;
}

TEST(MetricFamilies, AreWrittenForPrometheus) {
  const std::string text = prometheus_text(some_families());
  for (const char* line :
       {"# TYPE a_total counter\n", "a_total{x=\"1\\\\u000a\\\\u00e9\\\"\\\\\"} 3\n", "c -1.5\n",
        "d_seconds_bucket{x=\"y\",le=\"0.1\"} 1\n", "d_seconds_bucket{x=\"y\",le=\"1\"} 2\n",
        "d_seconds_bucket{x=\"y\",le=\"86400\"} 2\n", "d_seconds_bucket{x=\"y\",le=\"+Inf\"} 3\n",
        "d_seconds_count{x=\"y\"} 3\n", "d_seconds_sum{x=\"y\"} 172800.6"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "is not in\n" << text;
}

TEST(MetricFamilies, AreWrittenAsOpenMetrics) {
  EXPECT_EQ(openmetrics_text(some_families()),
            "# TYPE a counter\n"
            "# HELP a Counts a \\\"b\\\".\n"
            "a_total{x=\"1\\\\u000a\\\\u00e9\\\"\\\\\"} 3\n"
            "# TYPE c gauge\n"
            "# HELP c C.\n"
            "c -1.5\n"
            "# TYPE d_seconds histogram\n"
            "# HELP d_seconds D.\n"
            "d_seconds_bucket{x=\"y\",le=\"0.1\"} 1\n"
            "d_seconds_bucket{x=\"y\",le=\"1\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"10\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"60\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"300\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"1800\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"3600\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"21600\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"86400\"} 2\n"
            "d_seconds_bucket{x=\"y\",le=\"+Inf\"} 3\n"
            "d_seconds_sum{x=\"y\"} 172800.6\n"
            "d_seconds_count{x=\"y\"} 3\n"
            "# EOF\n");
}

}  // namespace
}  // namespace pgveil::proxy
