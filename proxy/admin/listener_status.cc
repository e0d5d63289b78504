#include "proxy/admin/listener_status.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "proxy/admin/duration_quantile.h"

namespace pgveil::proxy {
namespace {

using Json = nlohmann::ordered_json;

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

Json latencies_of(const ProcessState::Listener& listener) {
  const auto quantiles = [&](const DurationHistogram& (*histogram)(SessionMetrics&)) {
    return quantiles_of(durations_of(listener, histogram));
  };
  return {{"client_handshake", quantiles(duration_of<SessionPhase::accept_tls>)},
          {"connect", quantiles(duration_of<SessionPhase::connect>)},
          {"upstream_handshake", quantiles(duration_of<SessionPhase::verify_upstream>)},
          {"login", quantiles(duration_of<SessionPhase::log_in>)},
          {"start", quantiles(start_of)}};
}

// In the configuration, 0 means that there is no limit.
Json max_of(std::size_t max) {
  return max == 0 ? Json() : Json(max);
}

Json limits_of(const ProcessState::Listener& listener) {
  const ListenerUsage& usage = *listener.usage;
  const ListenerLimits& limits = listener.limits;
  return {{"sessions", {{"used", usage.sessions.taken()}, {"max", max_of(limits.max_sessions)}}},
          {"unauthenticated_clients",
           {{"used", usage.unauthenticated_clients.count()},
            {"max", max_of(limits.max_unauthenticated_clients)}}},
          {"sessions_per_user", {{"max", max_of(limits.max_sessions_per_user)}}},
          {"sessions_per_address", {{"max", max_of(limits.max_sessions_per_address)}}},
          {"reserved_sessions", limits.reserved_sessions}};
}

}  // namespace

Json quantiles_of(const DurationHistogram::Sum& durations) {
  constexpr double kMicroseconds = 1e6;  // in a second
  const auto quantile = [&](double which) {
    return std::round(quantile_of(durations, which).value_or(0) * kMicroseconds) / kMicroseconds;
  };
  const std::uint64_t count = count_of(durations);
  if (count == 0) return {};
  return {{"count", count}, {"p50", quantile(0.5)}, {"p95", quantile(0.95)}, {"p99", quantile(0.99)}};
}

Json status_of_listeners(const ProcessState::Values& values, const std::vector<SessionSurvey>& surveys) {
  Json listeners = Json::array();
  for (const auto& listener : values.listeners) {
    const auto activity = activity_of(listener, surveys);
    listeners.push_back(
        {{"address", listener.address},
         {"upstream", listener.upstream},
         {"accepted", count_of(listener, [](const SessionMetrics& each) { return each.accepted.value(); })},
         {"sessions", sessions_of(listener, activity)},
         {"logins",
          {{"accepted", logins_of(listener, &SessionMetrics::Logins::accepted)},
           {"refused", logins_of(listener, &SessionMetrics::Logins::refused)}}},
         {"bytes",
          {{"to_client", activity.traffic.to_client.bytes}, {"to_server", activity.traffic.to_server.bytes}}},
         {"ended", ends_of(listener)},
         {"latencies", latencies_of(listener)},
         {"limits", limits_of(listener)}});
  }
  return listeners;
}

}  // namespace pgveil::proxy
