#include "proxy/snapshot.h"

#include <utility>

namespace pgveil::proxy {
namespace {

Mistake placed(const tls::SettingMistake& mistake, const std::string& upstream, const Origins& origins) {
  const std::string key = "upstream." + upstream + '.' + mistake.setting;
  const auto place = origins.find(key);
  return {place.file, place.line, key, mistake.problem, mistake.remedy};
}

}  // namespace

tl::expected<std::shared_ptr<const Snapshot>, Mistakes> build_snapshot(const ParsedConfig& parsed) {
  auto snapshot = std::make_shared<Snapshot>();
  Mistakes mistakes;
  snapshot->config = parsed.config;
  wipe_secrets(snapshot->config);
  for (const auto& [name, config] : parsed.config.upstreams) {
    Upstream upstream{snapshot->config.upstreams.at(name), nullptr};
    if (config.uses_tls()) {
      if (auto context = tls::ClientContext::build(config.tls))
        upstream.tls = *std::move(context);
      else
        for (const auto& mistake : context.error()) mistakes.push_back(placed(mistake, name, parsed.origins));
    }
    snapshot->upstreams.emplace(name, std::move(upstream));
  }
  if (!mistakes.empty()) return tl::unexpected(std::move(mistakes));
  return snapshot;
}

}  // namespace pgveil::proxy
