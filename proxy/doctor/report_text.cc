#include "proxy/doctor/report_text.h"

#include <fmt/format.h>

#include <string_view>

#include "proxy/diagnostics/log_text.h"

namespace pgveil::proxy {
namespace {

constexpr std::string_view kReset = "\x1b[0m";

std::string_view colour_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed: return "\x1b[32m";
    case Outcome::failed: return "\x1b[31m";
    case Outcome::noted: break;
  }
  return "\x1b[2m";
}

std::string_view mark_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::passed: return "✓";
    case Outcome::failed: return "✗";
    case Outcome::noted: break;
  }
  return "–";
}

std::string mark(Outcome outcome, bool has_colours) {
  if (!has_colours) return std::string(mark_of(outcome));
  return fmt::format("{}{}{}", colour_of(outcome), mark_of(outcome), kReset);
}

// Returns for example "3 ms" or "0.4 ms".
std::string text_of(const std::optional<StepDuration>& duration) {
  if (!duration) return "";
  const double ms = std::chrono::duration<double, std::milli>(*duration).count();
  return ms < 10 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

std::string text_of(const Finding& finding) {
  const auto line = [](std::string_view label, std::string_view text) {
    return fmt::format("    {:<8} {}\n", label, printable(text));
  };
  return line("cause:", finding.cause) + line("remedy:", finding.remedy) +
         line("side:", name_of(finding.side));
}

std::string text_of(const std::vector<Step>& steps, bool has_colours) {
  std::string text;
  for (const Step& step : steps) {
    text += fmt::format("  {} {:<11} {:>8}  {}\n", mark(step.outcome, has_colours), printable(step.name),
                        text_of(step.duration), printable(step.text));
    if (step.finding) text += text_of(*step.finding);
  }
  return text;
}

// The marks tell whether the connection would be verified; no mode is a fault of the server.
std::string text_of(const std::vector<SslModeForecast>& forecasts, bool has_colours) {
  if (forecasts.empty()) return "";
  std::vector<Step> steps;
  steps.reserve(forecasts.size());
  for (const auto& forecast : forecasts)
    steps.push_back(
        {.name = forecast.mode,
         .outcome = forecast.verifies_name ? Outcome::passed : Outcome::noted,
         .text = forecast.unprotected.empty()
                     ? forecast.text
                     : fmt::format("{}; no protection against {}", forecast.text, forecast.unprotected)});
  return "  sslmode of libpq:\n" + text_of(steps, has_colours);
}

std::string title_of(const ServerReport& report) {
  return printable(report.server) +
         (report.upstream.empty() ? "" : " of upstream " + printable(report.upstream)) + '\n';
}

}  // namespace

std::string report_text(const Report& report, bool has_colours) {
  std::string text;
  for (const ServerReport& server : report.servers) {
    if (!text.empty()) text += '\n';
    text += title_of(server) + text_of(server.steps, has_colours) + text_of(server.sslmodes, has_colours);
  }
  for (const ListenerReport& listener : report.listeners)
    text += "\nlistener " + printable(listener.listener) + '\n' + text_of(listener.steps, has_colours);
  return text;
}

}  // namespace pgveil::proxy
