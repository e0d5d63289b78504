// Builds metrics as the structures of prometheus-cpp, with names and units by Prometheus' conventions.
#pragma once

#include <prometheus/metric_family.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/diagnostics/metrics.h"

namespace pgveil::proxy {

using MetricLabels = std::vector<std::pair<std::string_view, std::string>>;

// One metric with all its series. Its values are added one by one.
class MetricFamily {
 public:
  static MetricFamily counter(std::string name, std::string help);
  static MetricFamily gauge(std::string name, std::string help);
  static MetricFamily histogram(std::string name, std::string help);

  MetricFamily& add(const MetricLabels& labels, double value);
  MetricFamily& add(const MetricLabels& labels, const DurationHistogram::Sum& sum);

  [[nodiscard]] prometheus::MetricFamily release() { return std::move(family_); }

 private:
  MetricFamily(std::string name, std::string help, prometheus::MetricType type);
  [[nodiscard]] prometheus::ClientMetric& add_series(const MetricLabels& labels);

  prometheus::MetricFamily family_;
};

// Return the metrics in the text format of Prometheus (version 0.0.4), and in OpenMetrics 1.0.
[[nodiscard]] std::string prometheus_text(const std::vector<prometheus::MetricFamily>& families);
[[nodiscard]] std::string openmetrics_text(const std::vector<prometheus::MetricFamily>& families);

}  // namespace pgveil::proxy
