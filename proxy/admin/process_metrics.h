// The metrics that every client library of Prometheus has of its process, with their usual names.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

namespace pgveil::proxy {

// A metric whose value cannot be read is left out.
void add_process_metrics(std::vector<prometheus::MetricFamily>& to);

}  // namespace pgveil::proxy
