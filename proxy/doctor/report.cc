#include "proxy/doctor/report.h"

#include <algorithm>

namespace pgveil::proxy {

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed: return "passed";
    case Outcome::failed: return "failed";
    case Outcome::noted: return "noted";
  }
  return "?";
}

std::string_view name_of(Side side) {
  switch (side) {
    case Side::server: return "server";
    case Side::client: return "client";
    case Side::authority: return "CA";
    case Side::network: return "network";
    case Side::pgveil: return "pgveil";
  }
  return "?";
}

bool has_failed(const ServerReport& report) {
  return std::ranges::any_of(report.steps, [](const Step& step) { return step.outcome == Outcome::failed; });
}

}  // namespace pgveil::proxy
