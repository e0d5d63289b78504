#include "proxy/admin/metrics_page.h"

#include <uv.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "protocol/hba.h"
#include "proxy/admin/listener_totals.h"
#include "proxy/admin/metric_families.h"
#include "proxy/admin/process_metrics.h"
#include "proxy/admin/upstream_verdict.h"
#include "proxy/diagnostics/audit.h"
#include "proxy/diagnostics/log.h"
#include "tls/records_choice.h"
#include "tls/version.h"

namespace pgveil::proxy {
namespace {

constexpr double kNano = 1e-9;

using Families = std::vector<prometheus::MetricFamily>;
using Listeners = std::vector<ProcessState::Listener>;

double seconds_since_epoch(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

const DurationHistogram& session_of(SessionMetrics& metrics) {
  return metrics.session;
}

void add_build(const ObservedProcess& process, const ProcessState::Values& values, Families& to) {
  const auto records = tls::choose_records(values.snapshot->limits.tls_records);
  to.push_back(
      MetricFamily::gauge("pgveil_build_info",
                          "Versions, the engine that relays bytes, and who writes TLS records; always 1.")
          .add({{"version", process.facts.version},
                {"openssl", tls::openssl_version()},
                {"libuv", uv_version_string()},
                {"relay", process.facts.relay},
                {"tls_records", records.own ? "own" : "openssl"}},
               1)
          .release());
}

void add_configuration(const ProcessState::Values& values, Families& to) {
  to.push_back(MetricFamily::counter("pgveil_reloads_total", "Reloads of the configuration by outcome.")
                   .add({{"outcome", "succeeded"}}, static_cast<double>(values.reloads))
                   .add({{"outcome", "failed"}}, static_cast<double>(values.failed_reloads))
                   .release());
  to.push_back(MetricFamily::gauge("pgveil_last_reload_successful",
                                   "1 if the last reload succeeded, or none has been; 0 if it failed.")
                   .add({}, values.last_reload_failed ? 0 : 1)
                   .release());
  to.push_back(MetricFamily::gauge("pgveil_configuration_loaded_timestamp_seconds",
                                   "When the configuration in use was loaded, in seconds since 1970.")
                   .add({}, seconds_since_epoch(values.last_reload))
                   .release());
  to.push_back(MetricFamily::gauge("pgveil_draining", "1 while pgveil drains after SIGTERM, otherwise 0.")
                   .add({}, values.is_draining ? 1 : 0)
                   .release());
}

void add_expiries(const ProcessState::Values& values, Families& to) {
  auto expiries =
      MetricFamily::gauge("pgveil_certificate_not_after_seconds",
                          "When a certificate expires, or a CRL has to be replaced, in seconds since 1970.");
  for (const tls::Expiry& expiry : values.snapshot->expiries)
    expiries.add({{"kind", std::string(tls::name_of(expiry.kind))},
                  {"subject", expiry.subject},
                  {"file", expiry.file}},
                 static_cast<double>(expiry.ends));
  to.push_back(expiries.release());
}

void add_accept_pauses(const Listeners& listeners, Families& to) {
  auto family = MetricFamily::counter(
      "pgveil_accept_pauses_total",
      "How often connections of clients began to wait, because too many clients have not logged in or resources are missing.");
  for (const auto& listener : listeners) {
    const auto& pauses = listener.usage->accept_pauses;
    for (const auto& [cause, count] : {std::pair("unauthenticated_clients", &pauses.unauthenticated_clients),
                                       std::pair("resources", &pauses.resources)})
      family.add({{"listener", listener.address}, {"cause", cause}}, static_cast<double>(count->value()));
  }
  to.push_back(family.release());
}

// A series that cannot be known yet is left out.
void add_upstreams(const ProcessState::Values& values, Families& to) {
  auto up =
      MetricFamily::gauge("pgveil_upstream_up",
                          "1 if the last connection to the upstream was established, and verified unless "
                          "it is without TLS; 0 if it failed.");
  auto connected = MetricFamily::gauge("pgveil_upstream_last_connected_timestamp_seconds",
                                       "When a connection to the upstream was last established, by the "
                                       "verification that it passed.");
  auto failed = MetricFamily::gauge("pgveil_upstream_last_failed_timestamp_seconds",
                                    "When an attempt to connect to the upstream last failed; 0: never.");
  auto expiry =
      MetricFamily::gauge("pgveil_upstream_certificate_not_after_seconds",
                          "When the certificate that a server of the upstream has last shown expires.");
  for (const auto& upstream : used_upstreams(*values.snapshot)) {
    const UpstreamStatus::Values status = upstream->status->values();
    const std::string& name = upstream->config.name;
    if (status.last_attempt()) up.add({{"upstream", name}}, status.has_failed ? 0 : 1);
    if (status.connected)
      connected.add({{"upstream", name}, {"verification", status.tls ? "verify-full" : "none"}},
                    seconds_since_epoch(status.connected_at));
    failed.add({{"upstream", name}}, status.failed ? seconds_since_epoch(status.failed_at) : 0);
    if (status.tls && status.tls->peer)
      expiry.add({{"upstream", name}, {"subject", status.tls->peer->subject}},
                 static_cast<double>(status.tls->peer->not_after));
  }
  for (MetricFamily* family : {&up, &connected, &failed, &expiry}) to.push_back(family->release());
}

void add_preconnects(const ProcessState::Values& values, Families& to) {
  using Counts = UpstreamStatus::Preconnects;
  auto family = MetricFamily::counter("pgveil_preconnect_events_total",
                                      "What has become of pre-established connections.");
  for (const auto& upstream : used_upstreams(*values.snapshot)) {
    if (upstream->config.preconnect == 0) continue;
    const Counts counts = upstream->status->preconnects();
    for (const auto& [event, count] :
         {std::pair("made", counts.made), std::pair("taken", counts.taken),
          std::pair("missed", counts.missed), std::pair("renewed", counts.renewed),
          std::pair("failed", counts.failed)})
      family.add({{"upstream", upstream->config.name}, {"event", event}}, static_cast<double>(count));
  }
  to.push_back(family.release());
}

void add_lookups(const ObservedProcess& process, Families& to) {
  double succeeded = 0, failed = 0, seconds = 0;
  for (const ObservedWorker& worker : process.workers) {
    succeeded += static_cast<double>(worker.lookups->succeeded.load(std::memory_order_relaxed));
    failed += static_cast<double>(worker.lookups->failed.load(std::memory_order_relaxed));
    seconds += kNano * static_cast<double>(worker.lookups->nanoseconds.load(std::memory_order_relaxed));
  }
  to.push_back(
      MetricFamily::counter("pgveil_dns_lookups_total", "Look-ups of names and addresses by outcome.")
          .add({{"outcome", "succeeded"}}, succeeded)
          .add({{"outcome", "failed"}}, failed)
          .release());
  to.push_back(MetricFamily::counter("pgveil_dns_lookup_seconds_total", "The time that look-ups have taken.")
                   .add({}, seconds)
                   .release());
}

void add_workers(const ObservedProcess& process, const std::vector<SessionSurvey>& surveys, Families& to) {
  auto delays = MetricFamily::histogram(
      "pgveil_worker_loop_delay_seconds",
      "The time until a worker answers a question that it is asked at least once a second.");
  auto sessions = MetricFamily::gauge(
      "pgveil_worker_sessions", "Connections of clients by worker, those of removed listeners among them.");
  for (std::size_t i = 0; i < process.workers.size(); ++i) {
    const MetricLabels labels{{"worker", std::to_string(i + 1)}};
    DurationHistogram::Sum sum;
    process.workers[i].pulse->delays().add_to(sum);
    delays.add(labels, sum);
    sessions.add(labels, static_cast<double>(surveys.at(i).sessions()));
  }
  to.push_back(delays.release());
  to.push_back(sessions.release());
}

void add_sessions(const Listeners& listeners, Families& to) {
  auto accepted = MetricFamily::counter("pgveil_connections_accepted_total",
                                        "Connections of clients that were accepted.");
  auto phases = MetricFamily::gauge("pgveil_sessions",
                                    "Connections of clients at the moment, by the phase of the session.");
  auto ended = MetricFamily::counter("pgveil_sessions_ended_total",
                                     "Sessions that have ended, by reason; docs/reasons.md explains each.");
  auto duration =
      MetricFamily::histogram("pgveil_session_duration_seconds",
                              "The time from accept to the end of a session, whatever its end was.");
  for (const auto& listener : listeners) {
    accepted.add({{"listener", listener.address}},
                 sum_of(listener, [](const SessionMetrics& each) { return each.accepted.value(); }));
    for (std::size_t i = 0; i + 1 < kSessionPhases; ++i)
      phases.add(
          {{"listener", listener.address}, {"phase", std::string(name_of(static_cast<SessionPhase>(i)))}},
          sum_of(listener, [i](const SessionMetrics& each) { return each.in_phase.at(i).value(); }));
    for (const ReasonInfo& reason : all_reasons())
      ended.add({{"listener", listener.address}, {"reason", std::string(reason.name)}},
                sum_of(listener, [&](const SessionMetrics& each) {
                  return each.ended.at(static_cast<std::size_t>(reason.reason)).value();
                }));
    duration.add({{"listener", listener.address}}, durations_of(listener, session_of));
  }
  for (MetricFamily* family : {&accepted, &phases, &ended, &duration}) to.push_back(family->release());
}

void add_activity(const Listeners& listeners, const std::vector<SessionSurvey>& surveys, Families& to) {
  auto states =
      MetricFamily::gauge("pgveil_established_sessions", "Established sessions by what they do now.");
  auto bytes = MetricFamily::counter(
      "pgveil_bytes_total", "Bytes of PostgreSQL's protocol to and from clients, without those of TLS.");
  auto wire = MetricFamily::counter(
      "pgveil_wire_bytes_total",
      "Bytes of the connections of sessions that were established, from their start and with those of TLS, by leg.");
  auto messages = MetricFamily::counter("pgveil_messages_total",
                                        "Complete messages of PostgreSQL's protocol that were passed on.");
  auto paused =
      MetricFamily::counter("pgveil_relay_paused_seconds_total",
                            "The time in which sessions did not read from one side, because the other "
                            "side was slow to read.");
  for (const auto& listener : listeners) {
    const SessionSurvey::Entry sum = activity_of(listener, surveys);
    for (std::size_t state = 0; state < kSessionStates; ++state)
      states.add(
          {{"listener", listener.address}, {"state", std::string(name_of(static_cast<SessionState>(state)))}},
          static_cast<double>(sum.sessions.at(state)));
    const Traffic& traffic = sum.traffic;
    for (const auto& [direction, slow_side, counts] :
         {std::tuple("to_client", "client", &traffic.to_client),
          std::tuple("to_server", "server", &traffic.to_server)}) {
      const MetricLabels labels{{"listener", listener.address}, {"direction", direction}};
      bytes.add(labels, static_cast<double>(counts->bytes));
      messages.add(labels, static_cast<double>(counts->messages));
      paused.add({{"listener", listener.address}, {"slow_side", slow_side}},
                 kNano * static_cast<double>(counts->paused.count()));
    }
    for (const auto& [leg, to_client, to_server] :
         {std::tuple("client", traffic.client_leg.sent, traffic.client_leg.received),
          std::tuple("server", traffic.server_leg.received, traffic.server_leg.sent)}) {
      wire.add({{"listener", listener.address}, {"leg", leg}, {"direction", "to_client"}},
               static_cast<double>(to_client));
      wire.add({{"listener", listener.address}, {"leg", leg}, {"direction", "to_server"}},
               static_cast<double>(to_server));
    }
  }
  for (MetricFamily* family : {&states, &bytes, &wire, &messages, &paused}) to.push_back(family->release());
}

// Returns the labels of a row: those that are asked for.
MetricLabels labels_of(const ProcessState::Listener& listener, const SessionSurvey::LabelledEntry& row,
                       const AdminLabels& wanted) {
  MetricLabels labels{{"listener", listener.address}};
  if (wanted.user) labels.emplace_back("user", row.values[0]);
  if (wanted.database) labels.emplace_back("database", row.values[1]);
  if (wanted.address) labels.emplace_back("address", row.values[2]);
  return labels;
}

struct LabelledSum {
  double sessions = 0;
  double logins = 0;
  Traffic traffic = {};
};

std::map<MetricLabels, LabelledSum> labelled_sums(const ProcessState::Values& values,
                                                  const AdminLabels& wanted,
                                                  const std::vector<SessionSurvey>& surveys) {
  std::map<MetricLabels, LabelledSum> sums;
  for (const auto& listener : values.listeners)
    for (std::size_t worker = 0; worker < surveys.size(); ++worker)
      for (const auto& row : surveys[worker].labelled()) {
        if (row.metrics != listener.usage->metrics.at(worker)->number) continue;
        LabelledSum& sum = sums[labels_of(listener, row, wanted)];
        sum.sessions += static_cast<double>(row.sessions);
        sum.logins += static_cast<double>(row.logins);
        sum.traffic += row.traffic;
      }
  return sums;
}

void add_labelled_sessions(const ObservedProcess& process, const ProcessState::Values& values,
                           const std::vector<SessionSurvey>& surveys, Families& to) {
  auto sessions = MetricFamily::gauge("pgveil_client_sessions",
                                      "Established sessions at the moment by the labels of admin.labels.");
  auto logins = MetricFamily::counter("pgveil_client_logins_total",
                                      "Logins that have become sessions, by the labels of admin.labels.");
  auto bytes = MetricFamily::counter(
      "pgveil_client_bytes_total",
      "Bytes of PostgreSQL's protocol to and from clients, by the labels of admin.labels.");
  for (const auto& [labels, sum] : labelled_sums(values, process.facts.labels, surveys)) {
    sessions.add(labels, sum.sessions);
    logins.add(labels, sum.logins);
    MetricLabels with_direction = labels;
    with_direction.emplace_back("direction", "to_client");
    bytes.add(with_direction, static_cast<double>(sum.traffic.to_client.bytes));
    with_direction.back().second = "to_server";
    bytes.add(with_direction, static_cast<double>(sum.traffic.to_server.bytes));
  }
  for (MetricFamily* family : {&sessions, &logins, &bytes}) to.push_back(family->release());
}

void add_logins(const Listeners& listeners, Families& to) {
  auto logins = MetricFamily::counter(
      "pgveil_logins_total",
      "Logins by the method of the rule that matched (`none`: no rule), and by their outcome.");
  for (const auto& listener : listeners) {
    const auto add = [&](std::string_view method, const auto& logins_of) {
      for (const auto& [outcome, counter] : {std::pair("accepted", &SessionMetrics::Logins::accepted),
                                             std::pair("refused", &SessionMetrics::Logins::refused)})
        logins.add({{"listener", listener.address}, {"method", std::string(method)}, {"outcome", outcome}},
                   sum_of(listener, [&, counter = counter](const SessionMetrics& each) {
                     return (logins_of(each).*counter).value();
                   }));
    };
    for (std::size_t i = 0; i < protocol::kHbaMethods; ++i)
      add(
          protocol::name_of(static_cast<protocol::HbaMethod>(i)),
          [i](const SessionMetrics& each) -> const auto& { return each.logins.at(i); });
    add(
        "none", [](const SessionMetrics& each) -> const auto& { return each.logins_without_rule; });
  }
  to.push_back(logins.release());
}

void add_handshakes(const Listeners& listeners, Families& to) {
  struct Side {
    const char* name;
    const char* help;
    HandshakeCounts SessionMetrics::*counts;
  };
  for (const Side& side :
       {Side{"pgveil_client_handshakes_total", "TLS handshakes with clients that were completed.",
             &SessionMetrics::client_handshakes},
        Side{"pgveil_upstream_handshakes_total",
             "Verified TLS connections to servers that sessions have used.",
             &SessionMetrics::upstream_handshakes}}) {
    auto family = MetricFamily::counter(side.name, side.help);
    for (const auto& listener : listeners) {
      HandshakeCounts::Counts counts;
      for (const auto& worker : listener.usage->metrics) ((*worker).*side.counts).add_to(counts);
      for (const auto& [kind, count] : counts)
        family.add({{"listener", listener.address},
                    {"version", kind.version},
                    {"cipher", kind.cipher},
                    {"group", kind.group},
                    {"post_quantum", kind.is_post_quantum ? "yes" : "no"}},
                   static_cast<double>(count));
    }
    to.push_back(family.release());
  }
}

void add_failed_handshakes(const Listeners& listeners, Families& to) {
  auto family = MetricFamily::counter(
      "pgveil_failed_handshakes_total",
      "TLS handshakes that failed, or that the peer rejected afterwards, by cause and by the alert of the peer.");
  const auto add = [&](const ProcessState::Listener& listener, const std::string& side,
                       FailedHandshakeCounts SessionMetrics::*counts_of) {
    FailedHandshakeCounts::Counts counts;
    for (const auto& worker : listener.usage->metrics) ((*worker).*counts_of).add_to(counts);
    for (const auto& [kind, count] : counts)
      family.add(
          {{"listener", listener.address}, {"side", side}, {"failure", kind.failure}, {"alert", kind.alert}},
          static_cast<double>(count));
  };
  for (const auto& listener : listeners) {
    add(listener, "client", &SessionMetrics::failed_client_handshakes);
    add(listener, "server", &SessionMetrics::failed_upstream_handshakes);
  }
  to.push_back(family.release());
}

void add_steps(const Listeners& listeners, Families& to) {
  struct Step {
    const char* name;
    const char* help;
    const DurationHistogram& (*histogram)(SessionMetrics&);
  };
  for (const Step& step : {
           Step{"pgveil_client_handshake_seconds", "The TLS handshake with a client.",
                duration_of<SessionPhase::accept_tls>},
           Step{"pgveil_upstream_connect_seconds",
                "From the look-up of the server's name to its answer to SSLRequest.",
                duration_of<SessionPhase::connect>},
           Step{"pgveil_upstream_handshake_seconds", "The TLS handshake with a server, and its verification.",
                duration_of<SessionPhase::verify_upstream>},
           Step{"pgveil_login_seconds", "From the StartupMessage to the server until its ReadyForQuery.",
                duration_of<SessionPhase::log_in>},
           Step{"pgveil_session_start_seconds", "From accept to the server's ReadyForQuery.", start_of},
       }) {
    auto family = MetricFamily::histogram(step.name, step.help);
    for (const auto& listener : listeners)
      family.add({{"listener", listener.address}}, durations_of(listener, step.histogram));
    to.push_back(family.release());
  }
}

void add_counter(Families& to, std::string name, std::string help, std::uint64_t value) {
  to.push_back(
      MetricFamily::counter(std::move(name), std::move(help)).add({}, static_cast<double>(value)).release());
}

void add_lines_and_records(Families& to) {
  add_counter(to, "pgveil_log_lines_lost_total",
              "Lines of the log that could not be written, or were not read in time.", lost_log_lines());
  add_counter(to, "pgveil_audit_records_lost_total",
              "Audit records that could not be written to the target of the audit.", lost_audit_records());
  add_counter(to, "pgveil_audit_records_omitted_total",
              "Audit records of strangers that were not written because of audit.stranger_rate.",
              omitted_audit_records());
  to.push_back(MetricFamily::gauge("pgveil_audit_blocked",
                                   "1 while audit records cannot be written and logins wait, otherwise 0.")
                   .add({}, audit_is_blocked() ? 1 : 0)
                   .release());
}

Families all_families(const ObservedProcess& process, Surveyor& surveyor) {
  const ProcessState::Values values = process.state.values();
  Families families;
  add_build(process, values, families);
  add_configuration(values, families);
  add_expiries(values, families);
  add_upstreams(values, families);
  add_preconnects(values, families);
  add_lookups(process, families);
  const auto& surveys = surveyor.survey();
  add_workers(process, surveys, families);
  add_sessions(values.listeners, families);
  add_accept_pauses(values.listeners, families);
  add_activity(values.listeners, surveys, families);
  add_labelled_sessions(process, values, surveys, families);
  add_logins(values.listeners, families);
  add_handshakes(values.listeners, families);
  add_failed_handshakes(values.listeners, families);
  add_steps(values.listeners, families);
  add_lines_and_records(families);
  add_process_metrics(families);
  return families;
}

}  // namespace

HttpResponse MetricsPage::answer(std::string_view accept) {
  const bool is_open_metrics = accept.find("application/openmetrics-text") != std::string_view::npos;
  Page& page = is_open_metrics ? open_metrics_ : text_;
  if (Clock::now() - page.made < kMaxAge) return page.response;
  const Families families = all_families(process_, surveyor_);
  if (is_open_metrics)
    page.response = {.body = openmetrics_text(families),
                     .content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"};
  else
    page.response = {.body = prometheus_text(families),
                     .content_type = "text/plain; version=0.0.4; charset=utf-8"};
  page.made = Clock::now();
  return page.response;
}

}  // namespace pgveil::proxy
