// The page /metrics: all metrics of the process in a format that Prometheus reads. docs/metrics.md describes each of them.
#pragma once

#include <chrono>
#include <string_view>

#include "proxy/admin/http_message.h"
#include "proxy/admin/listener_totals.h"
#include "proxy/admin/observed_process.h"

namespace pgveil::proxy {

class MetricsPage {
 public:
  // A page that is younger is sent again, so that many scrapers cost little.
  static constexpr std::chrono::milliseconds kMaxAge = Surveyor::kMaxAge;

  // Both must outlive the page.
  MetricsPage(const ObservedProcess& process, Surveyor& surveyor) : process_(process), surveyor_(surveyor) {}

  // `accept`: the header of the request, which may ask for OpenMetrics. Asks the workers what their sessions do, and waits
  // a short time for that.
  [[nodiscard]] HttpResponse answer(std::string_view accept);

 private:
  using Clock = std::chrono::steady_clock;
  struct Page {
    HttpResponse response;
    Clock::time_point made{};
  };

  const ObservedProcess& process_;
  Surveyor& surveyor_;
  Page text_;
  Page open_metrics_;
};

}  // namespace pgveil::proxy
