#include "proxy/config/config_files.h"

#include <span>
#include <utility>

#include "proxy/config/settings.h"
#include "tls/digest.h"
#include "tls/system_trust.h"

namespace pgveil::proxy {
namespace {

template <class Section>
void add_paths(std::span<const Setting<Section>> settings, const Section& section,
               std::set<std::string>& paths) {
  for (const auto& setting : settings) {
    if (setting.type != &values::Path::type) continue;
    auto path = setting.show(section);
    if (!path.empty()) paths.insert(std::move(path));
  }
}

}  // namespace

std::set<std::string> config_files(const ParsedConfig& parsed) {
  std::set<std::string> paths;
  if (!parsed.file.empty()) paths.insert(parsed.file);
  for (const auto& listener : parsed.config.listeners) {
    add_paths(listener_settings(), listener, paths);
    for (const auto& certificate : listener.tls.certificates)
      add_paths(certificate_settings(), certificate, paths);
  }
  for (const auto& [name, config] : parsed.config.upstreams) {
    UpstreamSection section;
    section.config = config;
    add_paths(upstream_settings(), section, paths);
    tls::wipe(section.config.tls.sslpassword);
    paths.erase(std::string(tls::kSystemTrust));
    if (config.tls.sslrootcert == tls::kSystemTrust && config.uses_tls())
      for (auto& path : tls::system_trust_paths()) paths.insert(std::move(path));
  }
  return paths;
}

}  // namespace pgveil::proxy
