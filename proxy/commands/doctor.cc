#include "proxy/commands/doctor.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <memory>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "proxy/base/exit_code.h"
#include "proxy/commands/host_text.h"
#include "proxy/config/config_report.h"
#include "proxy/doctor/examination.h"
#include "proxy/doctor/report_json.h"
#include "proxy/doctor/report_text.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {
namespace {

using Upstreams = std::vector<std::shared_ptr<const Upstream>>;

// Loads the files that the options name.
tl::expected<Upstreams, ConfigReport> upstream_of_options(const UpstreamConfig& config) {
  auto upstream = std::make_shared<Upstream>(Upstream{config, nullptr, {}});
  auto context = tls::ClientContext::build(config.tls);
  if (context) {
    upstream->tls = *std::move(context);
    return Upstreams{std::move(upstream)};
  }
  ConfigReport report;
  for (auto& error : context.error())
    report.add_error({"--" + error.setting, 0, "", std::move(error.message), std::move(error.hint)});
  return tl::unexpected(std::move(report));
}

tl::expected<Upstreams, ConfigReport> upstreams_of_config(const ParsedConfig& parsed) {
  const auto snapshot = build_snapshot(parsed);
  if (!snapshot) return tl::unexpected(snapshot.error());
  Upstreams upstreams;
  for (const auto& [name, upstream] : (*snapshot)->upstreams) upstreams.push_back(upstream);
  return upstreams;
}

// Examines each host of an upstream as if it were the only one.
void examine_hosts(const Upstream& upstream, std::int64_t now, std::vector<ServerReport>& reports) {
  for (const UpstreamHost& host : upstream.config.hosts) {
    auto single = std::make_shared<Upstream>(Upstream{upstream.config, upstream.tls, {}});
    single->config.hosts = {host};
    reports.push_back(examine(single, now));
    reports.back().server = text_of(host);
  }
}

// https://no-color.org
bool has_colours() {
  const char* no_color = std::getenv("NO_COLOR");
  return (no_color == nullptr || *no_color == '\0') && ::isatty(STDOUT_FILENO) == 1;
}

void print_text(const std::vector<ServerReport>& reports) {
  for (const ServerReport& report : reports) {
    if (&report != &reports.front()) std::cout << '\n';
    std::cout << report_text(report, has_colours());
  }
}

}  // namespace

int run_doctor(const ParsedConfig& parsed, const DoctorRequest& request) {
  const auto upstreams = request.server ? upstream_of_options(*request.server) : upstreams_of_config(parsed);
  if (!upstreams) {
    std::cerr << upstreams.error().text() << std::flush;
    return kExitConfig;
  }
  const std::int64_t now = std::time(nullptr);
  std::vector<ServerReport> reports;
  for (const auto& upstream : *upstreams) examine_hosts(*upstream, now, reports);
  if (request.as_json)
    std::cout << report_json(reports, now);
  else
    print_text(reports);
  std::cout << std::flush;
  return std::ranges::any_of(reports, has_failed) ? kExitUnavailable : kExitOk;
}

}  // namespace pgveil::proxy
