#include "tls/settings.h"

#include <strings.h>

#include <array>
#include <cstddef>

namespace pgveil::tls {
namespace {

// The names are in the order of Version.
constexpr std::array<std::string_view, 4> kVersionNames{"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};

}  // namespace

std::optional<Version> version_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kVersionNames.size(); ++i) {
    const std::string_view known = kVersionNames[i];
    if (known.size() == name.size() && ::strncasecmp(known.data(), name.data(), name.size()) == 0)
      return static_cast<Version>(i);
  }
  return std::nullopt;
}

std::string_view name_of(Version version) {
  return kVersionNames[static_cast<std::size_t>(version)];
}

}  // namespace pgveil::tls
