// The page /metrics: all metrics of the process in a format that Prometheus reads. docs/metrics.md describes each of them.
#pragma once

#include <string>
#include <string_view>

#include "proxy/admin/http_message.h"
#include "proxy/admin/observed_process.h"

namespace pgveil::proxy {

// `accept`: the header of the request, which may ask for OpenMetrics.
[[nodiscard]] HttpResponse metrics_page(const ObservedProcess& process, std::string_view accept);

}  // namespace pgveil::proxy
