#include "proxy/admin/upstream_verdict.h"

#include <fmt/format.h>

namespace pgveil::proxy {
namespace {

// Empty: it is ready.
std::string why_not_ready(const Upstream& upstream, const Snapshot& snapshot, UpstreamStatus::Time now) {
  const UpstreamStatus::Values values = upstream.status->values();
  const std::string name = fmt::format("upstream {}: ", upstream.config.name);
  if (values.has_failed) return name + values.problem;
  if (!values.connected) return name + "no connection has been made yet";
  const auto age = now - *values.connected;
  const auto limit = 2 * snapshot.admin.upstream_check_interval + snapshot.limits.startup_timeout;
  if (snapshot.admin.upstream_check_interval.count() == 0 || age <= limit) return "";
  return fmt::format("{}the last connection was made {} s ago", name, age.count() / 1000);
}

}  // namespace

std::string_view name_of(UpstreamVerdict verdict) {
  switch (verdict) {
    case UpstreamVerdict::unknown: return "unknown";
    case UpstreamVerdict::verified: return "verified";
    case UpstreamVerdict::unencrypted: return "unencrypted";
    case UpstreamVerdict::failed: return "failed";
  }
  return "";
}

UpstreamVerdict verdict_of(const UpstreamStatus::Values& values) {
  if (values.has_failed) return UpstreamVerdict::failed;
  if (!values.connected) return UpstreamVerdict::unknown;
  return values.tls ? UpstreamVerdict::verified : UpstreamVerdict::unencrypted;
}

std::vector<std::string> why_upstreams_not_ready(const Snapshot& snapshot, UpstreamStatus::Time now) {
  std::vector<std::string> reasons;
  for (const auto& upstream : used_upstreams(snapshot))
    if (std::string reason = why_not_ready(*upstream, snapshot, now); !reason.empty())
      reasons.push_back(std::move(reason));
  return reasons;
}

}  // namespace pgveil::proxy
