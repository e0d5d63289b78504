#include "proxy/admin/process_metrics.h"

#include <optional>
#include <utility>

#include "proxy/admin/metric_families.h"
#include "proxy/admin/process_usage.h"

namespace pgveil::proxy {

void add_process_metrics(std::vector<prometheus::MetricFamily>& to) {
  const auto add = [&](MetricFamily family, std::optional<double> value) {
    if (value) to.push_back(family.add({}, *value).release());
  };
  const ProcessUsage usage = process_usage();
  add(MetricFamily::counter("process_cpu_seconds_total", "CPU time of the process, user and system."),
      usage.processor_seconds);
  add(MetricFamily::gauge("process_open_fds", "Open file descriptors."), usage.open_descriptors);
  add(MetricFamily::gauge("process_max_fds", "The largest number of open file descriptors."),
      usage.max_descriptors);
  add(MetricFamily::gauge("process_virtual_memory_bytes", "Virtual memory of the process."),
      usage.virtual_bytes);
  add(MetricFamily::gauge("process_resident_memory_bytes", "Resident memory of the process."),
      usage.resident_bytes);
  add(MetricFamily::gauge("process_threads", "Threads of the process."), usage.threads);
  add(MetricFamily::gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
      usage.started);
}

}  // namespace pgveil::proxy
