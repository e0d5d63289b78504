#include "proxy/config/restart_settings.h"

#include <span>
#include <string_view>

#include "proxy/config/settings.h"

namespace pgveil::proxy {
namespace {

template <class Section>
void add_changed(std::string& names, std::string_view section, std::span<const Setting<Section>> settings,
                 const Section& before, const Section& after) {
  for (const auto& setting : settings) {
    if (!setting.needs_restart || setting.show(before) == setting.show(after)) continue;
    if (!names.empty()) names += ", ";
    names.append(section).append(".").append(setting.key);
  }
}

}  // namespace

std::string changed_restart_settings(const ProcessSettings& before, const ProcessSettings& after) {
  std::string names;
  add_changed(names, "limits", limits_settings(), before.limits, after.limits);
  add_changed(names, "log", log_settings(), before.log, after.log);
  add_changed(names, "audit", audit_settings(), before.audit, after.audit);
  add_changed(names, "admin", admin_settings(), before.admin, after.admin);
  return names;
}

}  // namespace pgveil::proxy
