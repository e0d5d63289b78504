#include "proxy/doctor/report.h"

#include <algorithm>
#include <utility>

namespace pgveil::proxy {

std::string_view name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed: return "passed";
    case Outcome::failed: return "failed";
    case Outcome::noted: return "noted";
  }
  return "?";
}

StepDuration since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<StepDuration>(std::chrono::steady_clock::now() - begin);
}

Step failed_step(std::string name, std::string text, Finding finding) {
  return {.name = std::move(name),
          .outcome = Outcome::failed,
          .text = std::move(text),
          .finding = std::move(finding)};
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

std::string_view name_of(SslModeForecast::Result result) {
  switch (result) {
    case SslModeForecast::Result::tls: return "tls";
    case SslModeForecast::Result::plaintext: return "plaintext";
    case SslModeForecast::Result::fails: return "fails";
    case SslModeForecast::Result::unknown: return "unknown";
  }
  return "?";
}

bool has_failed(const Report& report) {
  const auto has_failure = [](const auto& part) {
    return std::ranges::any_of(part.steps, [](const Step& step) { return step.outcome == Outcome::failed; });
  };
  return std::ranges::any_of(report.servers, has_failure) ||
         std::ranges::any_of(report.listeners, has_failure);
}

}  // namespace pgveil::proxy
