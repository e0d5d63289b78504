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
#include <utility>
#include <vector>

#include "proxy/admin/health.h"
#include "proxy/admin/history_recorder.h"
#include "proxy/admin/listener_status.h"
#include "proxy/admin/process_usage.h"
#include "proxy/admin/upstream_verdict.h"
#include "proxy/config/password_filter.h"
#include "tls/records_choice.h"
#include "tls/version.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

std::string utc(std::time_t time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time));
}

std::int64_t days_until(std::int64_t time) {
  constexpr std::int64_t kDay = 86'400;
  return (time - std::time(nullptr)) / kDay;
}

// As the log warns of it.
bool expires_soon(const tls::Expiry& expiry, const ProcessState::Values& values) {
  return tls::expires_soon(expiry, std::time(nullptr), values.snapshot->log.certificate_warning);
}

Json certificates_of(const ProcessState::Values& values) {
  Json certificates = Json::array();
  for (const tls::Expiry& expiry : values.snapshot->expiries)
    certificates.push_back({{"kind", tls::name_of(expiry.kind)},
                            {"subject", expiry.subject},
                            {"file", expiry.file},
                            {"not_after", utc(static_cast<std::time_t>(expiry.ends))},
                            {"days_left", days_until(expiry.ends)},
                            {"expires_soon", expires_soon(expiry, values)}});
  return certificates;
}

// A time that has not been is null.
Json utc_or_null(const std::optional<std::chrono::system_clock::time_point>& time) {
  return time ? Json(utc(std::chrono::system_clock::to_time_t(*time))) : Json();
}

// The log says the same.
Json mistakes_of(const ProcessState::Values& values) {
  Json mistakes = Json::array();
  if (!values.mistakes) return mistakes;
  for (const ConfigError& mistake : *values.mistakes)
    mistakes.push_back({{"file", values::without_passwords(mistake.file)},
                        {"line", mistake.line > 0 ? Json(mistake.line) : Json()},
                        {"setting", mistake.key},
                        {"message", values::without_passwords(mistake.message)},
                        {"hint", values::without_passwords(mistake.hint)}});
  return mistakes;
}

Json certificate_of(const UpstreamStatus::Values& status, const ProcessState::Values& values) {
  if (!status.tls || !status.tls->peer) return {};
  const tls::PeerCertificate& certificate = *status.tls->peer;
  return {{"subject", certificate.subject},
          {"not_after", utc(static_cast<std::time_t>(certificate.not_after))},
          {"days_left", days_until(certificate.not_after)},
          {"expires_soon", expires_soon(tls::expiry_of(certificate), values)}};
}

Json upstreams_of(const ProcessState::Values& values) {
  Json upstreams = Json::array();
  for (const auto& upstream : used_upstreams(*values.snapshot)) {
    const UpstreamStatus::Values status = upstream->status->values();
    upstreams.push_back(
        {{"name", upstream->config.name},
         {"sslmode", upstream->config.sslmode == SslMode::disable ? "disable" : "verify-full"},
         {"verdict", name_of(verdict_of(status))},
         {"problem", status.has_failed ? Json(status.problem) : Json()},
         {"server", status.server ? Json(status.server->text()) : Json()},
         {"last_connected",
          status.connected ? Json(utc(std::chrono::system_clock::to_time_t(status.connected_at))) : Json()},
         {"last_failed",
          status.failed ? Json(utc(std::chrono::system_clock::to_time_t(status.failed_at))) : Json()},
         {"tls", status.tls ? Json(status.tls->version) : Json()},
         {"certificate", certificate_of(status, values)}});
  }
  return upstreams;
}

Json configuration_of(const ProcessState::Values& values) {
  return {{"loaded", utc(std::chrono::system_clock::to_time_t(values.last_reload))},
          {"last_reload_succeeded", !values.last_reload_failed},
          {"reloads", {{"succeeded", values.reloads}, {"failed", values.failed_reloads}}},
          {"last_failure", utc_or_null(values.last_failure)},
          {"mistakes", mistakes_of(values)}};
}

// A number that cannot be read is null.
Json number_or_null(const std::optional<double>& number) {
  return number ? Json(static_cast<std::uint64_t>(*number)) : Json();
}

Json limits_of(const ObservedProcess& process, const ProcessState::Values& values,
               const ProcessUsage& usage) {
  const LimitsConfig& limits = values.snapshot->limits;
  return {
      {"sessions", {{"used", process.shared.sessions.taken()}, {"max", limits.max_sessions}}},
      {"unauthenticated_clients",
       {{"used", process.shared.unauthenticated_clients.count()},
        {"max", limits.max_unauthenticated_clients}}},
      {"descriptors",
       {{"used", number_or_null(usage.open_descriptors)}, {"max", number_or_null(usage.max_descriptors)}}}};
}

Json worker_loops_of(const ObservedProcess& process, const std::vector<SessionSurvey>& surveys) {
  Json loops = Json::array();
  for (std::size_t i = 0; i < process.workers.size(); ++i) {
    DurationHistogram::Sum delays;
    process.workers[i].pulse->delays().add_to(delays);
    loops.push_back(
        {{"worker", i + 1}, {"sessions", surveys.at(i).sessions()}, {"delay", quantiles_of(delays)}});
  }
  return loops;
}

Json sample_of(const SessionSample& sample) {
  Json json{{"time", utc(std::chrono::system_clock::to_time_t(sample.time))},
            {"logging_in", sample.logging_in}};
  for (std::size_t i = 0; i < kSessionStates; ++i)
    json[std::string(name_of(static_cast<SessionState>(i)))] = sample.established.at(i);
  json["leaving"] = sample.leaving;
  json["logins_refused"] = sample.logins_refused;
  json["bytes_to_client"] = sample.bytes_to_client;
  json["bytes_to_server"] = sample.bytes_to_server;
  return json;
}

Json history_of(const SessionHistory& history) {
  Json samples = Json::array();
  for (const SessionSample& sample : history.samples()) samples.push_back(sample_of(sample));
  return {{"interval_seconds", HistoryRecorder::kInterval.count()}, {"samples", std::move(samples)}};
}

}  // namespace

Json status_of(const ObservedProcess& process, Surveyor& surveyor) {
  const ProcessState::Values values = process.state.values();
  const auto started = process.facts.started;
  const auto uptime = std::chrono::system_clock::now() - started;
  const ProcessUsage usage = process_usage();
  const auto& surveys = surveyor.survey();
  const auto not_ready = why_not_ready(values);
  const auto not_live = why_not_live(process);
  return {
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
      {"listeners", status_of_listeners(values, surveys)},
      {"upstreams", upstreams_of(values)},
      {"certificates", certificates_of(values)},
      {"limits", limits_of(process, values, usage)},
      {"memory", {{"resident_bytes", number_or_null(usage.resident_bytes)}}},
      {"worker_loops", worker_loops_of(process, surveys)},
  };
}

HttpResponse status_page(const ObservedProcess& process, Surveyor& surveyor, const SessionHistory& history) {
  Json status = status_of(process, surveyor);
  status["history"] = history_of(history);
  // The name of a file may not be UTF-8, and a terminal may show it.
  return {.body = status.dump(2, ' ', true, Json::error_handler_t::replace) + '\n',
          .content_type = "application/json"};
}

}  // namespace pgveil::proxy
