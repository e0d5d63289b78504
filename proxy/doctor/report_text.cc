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
  const double milliseconds = std::chrono::duration<double, std::milli>(*duration).count();
  return milliseconds < 10 ? fmt::format("{:.1f} ms", milliseconds) : fmt::format("{:.0f} ms", milliseconds);
}

std::string text_of(const Finding& finding) {
  const auto line = [](std::string_view label, std::string_view text) {
    return fmt::format("    {:<8} {}\n", label, printable(text));
  };
  return line("cause:", finding.cause) + line("remedy:", finding.remedy) +
         line("side:", name_of(finding.side));
}

}  // namespace

std::string report_text(const ServerReport& report, bool has_colours) {
  std::string text = printable(report.server);
  if (!report.upstream.empty()) text += " of upstream " + printable(report.upstream);
  text += '\n';
  for (const Step& step : report.steps) {
    text += fmt::format("  {} {:<11} {:>8}  {}\n", mark(step.outcome, has_colours), printable(step.name),
                        text_of(step.duration), printable(step.text));
    if (step.finding) text += text_of(*step.finding);
  }
  return text;
}

}  // namespace pgveil::proxy
