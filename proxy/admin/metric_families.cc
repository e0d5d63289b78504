#include "proxy/admin/metric_families.h"

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <limits>

#include "proxy/diagnostics/log_text.h"

namespace pgveil::proxy {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// --- OpenMetrics, which prometheus-cpp cannot write ---

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '\n') {
      result += "\\n";
      continue;
    }
    if (letter == '\\' || letter == '"') result += '\\';
    result += letter;
  }
  return result;
}

std::string number(double value) {
  return value == kInfinity ? "+Inf" : fmt::format("{}", value);
}

std::string labels_text(const std::vector<prometheus::ClientMetric::Label>& labels, std::string_view bound) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{}{}=\"{}\"", text.empty() ? "{" : ",", name, escaped(value));
  };
  for (const auto& label : labels) add(label.name, label.value);
  if (!bound.empty()) add("le", bound);
  return text.empty() ? text : text + '}';
}

void append_series(std::string& to, std::string_view name, const prometheus::MetricFamily& family,
                   const prometheus::ClientMetric& series) {
  const auto append = [&](std::string_view suffix, std::string_view bound, double value) {
    fmt::format_to(std::back_inserter(to), "{}{}{} {}\n", name, suffix, labels_text(series.label, bound),
                   number(value));
  };
  switch (family.type) {
    case prometheus::MetricType::Counter: return append("_total", "", series.counter.value);
    case prometheus::MetricType::Histogram:
      for (const auto& bucket : series.histogram.bucket)
        append("_bucket", number(bucket.upper_bound), static_cast<double>(bucket.cumulative_count));
      append("_sum", "", series.histogram.sample_sum);
      append("_count", "", static_cast<double>(series.histogram.sample_count));
      return;
    default: return append("", "", series.gauge.value);
  }
}

std::string_view type_name(prometheus::MetricType type) {
  switch (type) {
    case prometheus::MetricType::Counter: return "counter";
    case prometheus::MetricType::Histogram: return "histogram";
    default: return "gauge";
  }
}

}  // namespace

MetricFamily::MetricFamily(std::string name, std::string help, prometheus::MetricType type) {
  family_.name = std::move(name);
  family_.help = std::move(help);
  family_.type = type;
}

MetricFamily MetricFamily::counter(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Counter};
}
MetricFamily MetricFamily::gauge(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Gauge};
}
MetricFamily MetricFamily::histogram(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Histogram};
}

prometheus::ClientMetric& MetricFamily::add_series(const MetricLabels& labels) {
  prometheus::ClientMetric& series = family_.metric.emplace_back();
  // Prometheus refuses a page with a label that is not UTF-8, such as the name of a file.
  for (const auto& [name, value] : labels) series.label.push_back({std::string(name), printable(value)});
  return series;
}

MetricFamily& MetricFamily::add(const MetricLabels& labels, double value) {
  prometheus::ClientMetric& series = add_series(labels);
  (family_.type == prometheus::MetricType::Counter ? series.counter.value : series.gauge.value) = value;
  return *this;
}

MetricFamily& MetricFamily::add(const MetricLabels& labels, const DurationHistogram::Sum& sum) {
  auto& histogram = add_series(labels).histogram;
  for (std::size_t i = 0; i <= sum.bounds.size(); ++i) {
    histogram.sample_count += sum.counts.at(i);
    histogram.bucket.push_back(
        {.cumulative_count = histogram.sample_count,
         .upper_bound = i < sum.bounds.size() ? DurationHistogram::seconds(sum.bounds[i]) : kInfinity});
  }
  histogram.sample_sum = sum.seconds;
  return *this;
}

std::string prometheus_text(const std::vector<prometheus::MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

// https://prometheus.io/docs/specs/om/open_metrics_spec/: unlike in the text format, the name of a counter is without
// `_total`, which only its samples have.
std::string openmetrics_text(const std::vector<prometheus::MetricFamily>& families) {
  constexpr std::string_view kTotal = "_total";
  std::string text;
  for (const auto& family : families) {
    std::string_view name = family.name;
    if (family.type == prometheus::MetricType::Counter && name.ends_with(kTotal))
      name.remove_suffix(kTotal.size());
    fmt::format_to(std::back_inserter(text), "# TYPE {} {}\n# HELP {} {}\n", name, type_name(family.type),
                   name, escaped(family.help));
    for (const auto& series : family.metric) append_series(text, name, family, series);
  }
  return text + "# EOF\n";
}

}  // namespace pgveil::proxy
