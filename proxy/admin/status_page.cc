#include "proxy/admin/status_page.h"

#include <fmt/chrono.h>
#include <uv.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "proxy/admin/health.h"
#include "proxy/admin/upstream_verdict.h"
#include "tls/records_choice.h"
#include "tls/version.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

std::string utc(std::time_t time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time));
}

template <class Value>
std::uint64_t count_of(const ProcessState::Listener& listener, const Value& value) {
  return static_cast<std::uint64_t>(sum_of(listener, value));
}

Json sessions_of(const ProcessState::Listener& listener, const SessionSurvey::Entry& activity) {
  Json phases = Json::object();
  for (std::size_t i = 0; i + 1 < kSessionPhases; ++i)
    phases[std::string(name_of(static_cast<SessionPhase>(i)))] =
        count_of(listener, [i](const SessionMetrics& each) { return each.in_phase.at(i).value(); });
  Json states = Json::object();
  for (std::size_t i = 0; i < kSessionStates; ++i)
    states[std::string(name_of(static_cast<SessionState>(i)))] = activity.sessions.at(i);
  return {{"phases", std::move(phases)}, {"established", std::move(states)}};
}

// Reasons that have not occurred are left out.
Json ends_of(const ProcessState::Listener& listener) {
  Json ends = Json::object();
  for (const ReasonInfo& reason : all_reasons()) {
    const auto count = count_of(listener, [&](const SessionMetrics& each) {
      return each.ended.at(static_cast<std::size_t>(reason.reason)).value();
    });
    if (count > 0) ends[std::string(reason.name)] = count;
  }
  return ends;
}

Json logins_of(const ProcessState::Listener& listener) {
  const auto sum = [&](Counter SessionMetrics::Logins::*outcome) {
    return count_of(listener, [outcome](const SessionMetrics& each) {
      std::uint64_t all = (each.logins_without_rule.*outcome).value();
      for (const auto& method : each.logins) all += (method.*outcome).value();
      return all;
    });
  };
  return {{"accepted", sum(&SessionMetrics::Logins::accepted)},
          {"refused", sum(&SessionMetrics::Logins::refused)}};
}

Json listeners_of(const ProcessState::Values& values, const std::vector<SessionSurvey>& surveys) {
  Json listeners = Json::array();
  for (const auto& listener : values.listeners) {
    const auto activity = activity_of(listener, surveys);
    listeners.push_back(
        {{"address", listener.address},
         {"upstream", listener.upstream},
         {"accepted", count_of(listener, [](const SessionMetrics& each) { return each.accepted.value(); })},
         {"sessions", sessions_of(listener, activity)},
         {"logins", logins_of(listener)},
         {"bytes", {{"to_client", activity.bytes_to_client}, {"to_server", activity.bytes_to_server}}},
         {"ended", ends_of(listener)}});
  }
  return listeners;
}

std::int64_t days_until(std::int64_t time) {
  constexpr std::int64_t kDay = 86'400;
  return (time - std::time(nullptr)) / kDay;
}

Json certificates_of(const ProcessState::Values& values) {
  Json certificates = Json::array();
  for (const tls::Expiry& expiry : values.snapshot->expiries)
    certificates.push_back({{"kind", tls::name_of(expiry.kind)},
                            {"subject", expiry.subject},
                            {"file", expiry.file},
                            {"not_after", utc(static_cast<std::time_t>(expiry.ends))},
                            {"days_left", days_until(expiry.ends)}});
  return certificates;
}

Json time_or_null(const std::optional<UpstreamStatus::Time>& time) {
  return time ? Json(utc(std::chrono::system_clock::to_time_t(time_of_day(*time)))) : Json();
}

Json certificate_of(const UpstreamStatus::Values& values) {
  if (!values.tls || !values.tls->peer) return {};
  const tls::PeerCertificate& certificate = *values.tls->peer;
  return {{"subject", certificate.subject},
          {"not_after", utc(static_cast<std::time_t>(certificate.not_after))},
          {"days_left", days_until(certificate.not_after)}};
}

Json upstreams_of(const ProcessState::Values& values) {
  Json upstreams = Json::array();
  for (const auto& upstream : used_upstreams(*values.snapshot)) {
    const UpstreamStatus::Values status = upstream->status->values();
    upstreams.push_back({{"name", upstream->config.name},
                         {"sslmode", upstream->tls ? "verify-full" : "disable"},
                         {"verdict", name_of(verdict_of(status))},
                         {"problem", status.has_failed ? Json(status.problem) : Json()},
                         {"server", status.server ? Json(status.server->text()) : Json()},
                         {"last_connected", time_or_null(status.connected)},
                         {"last_failed", time_or_null(status.failed)},
                         {"tls", status.tls ? Json(status.tls->version) : Json()},
                         {"certificate", certificate_of(status)}});
  }
  return upstreams;
}

Json configuration_of(const ProcessState::Values& values) {
  return {{"loaded", utc(std::chrono::system_clock::to_time_t(values.last_reload))},
          {"last_reload_succeeded", !values.last_reload_failed},
          {"reloads", {{"succeeded", values.reloads}, {"failed", values.failed_reloads}}}};
}

}  // namespace

HttpResponse status_page(const ObservedProcess& process, Surveyor& surveyor) {
  const ProcessState::Values values = process.state.values();
  const auto started = process.facts.started;
  const auto uptime = std::chrono::system_clock::now() - started;
  const auto not_ready = why_not_ready(values);
  const auto not_live = why_not_live(process);
  const Json status{
      {"schema", 1},
      {"version", process.facts.version},
      {"openssl", tls::openssl_version()},
      {"libuv", uv_version_string()},
      {"relay", process.facts.relay},
      {"tls_records", tls::choose_records(values.snapshot->limits.tls_records).own ? "own" : "openssl"},
      {"started", utc(std::chrono::system_clock::to_time_t(started))},
      {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()},
      {"live", not_live.empty()},
      {"ready", not_ready.empty()},
      {"draining", values.is_draining},
      {"problems",
       [&] {
         std::vector<std::string> problems = not_live;
         problems.insert(problems.end(), not_ready.begin(), not_ready.end());
         return problems;
       }()},
      {"workers", process.workers.size()},
      {"configuration", configuration_of(values)},
      {"listeners", listeners_of(values, surveyor.survey())},
      {"upstreams", upstreams_of(values)},
      {"certificates", certificates_of(values)},
  };
  // A name in a certificate may not be UTF-8.
  return {.body = status.dump(2, ' ', false, Json::error_handler_t::replace) + '\n',
          .content_type = "application/json"};
}

}  // namespace pgveil::proxy
