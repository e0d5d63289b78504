#include "proxy/session/session_record.h"

#include "proxy/diagnostics/log.h"

namespace pgveil::proxy {
namespace {

LogLevel level_of(const ReasonInfo& reason) {
  // What a health check or a port scan does all day.
  if (reason.reason == Reason::no_startup) return LogLevel::debug;
  switch (reason.fault) {
    case Fault::none:
    case Fault::client: return LogLevel::info;
    case Fault::upstream:
    case Fault::operator_: return LogLevel::warning;
    case Fault::pgveil: return LogLevel::error;
  }
  return LogLevel::info;
}

// Of the key exchange; empty: there is no TLS.
std::string_view post_quantum_text(const std::shared_ptr<const tls::Established>& tls) {
  if (!tls) return "";
  return tls->post_quantum ? "yes" : "no";
}

// Who reads and writes the records of the connection; empty: there is no TLS.
std::string_view records_text(const std::shared_ptr<const tls::Established>& tls) {
  if (!tls) return "";
  return tls->own_records ? "own" : "openssl";
}

LogFields parties(const Record& record) {
  LogFields fields;
  fields.add("client", record.client)
      .add("listener", record.listener)
      .add("worker", record.worker)
      .add("identity", record.identity)
      .add("user", record.user)
      .add("database", record.database)
      .add("upstream", record.upstream)
      .add("server", record.server);
  fields.add("prewarmed", record.prewarmed ? "yes" : "no");
  fields.add("client_tls", record.client_tls ? record.client_tls->version : "")
      .add("client_group", record.client_tls ? record.client_tls->group : "")
      .add("client_post_quantum", post_quantum_text(record.client_tls));
  const auto& tls = record.server_tls;
  fields.add("tls", tls ? tls->version : "")
      .add("cipher", tls ? tls->cipher : "")
      .add("group", tls ? tls->group : "")
      .add("post_quantum", post_quantum_text(tls));
  const bool verified = tls && tls->peer;
  fields.add("server_fingerprint", verified ? tls->peer->sha256_fingerprint : "")
      .add("server_not_after", verified ? tls::utc_text(tls->peer->not_after) : "");
  return fields;
}

// What is known beyond the reason. A message of its own has what the reason's sentence lacks, such as the
// name of a startup parameter.
std::string detail_of(const Ending& ending) {
  // It may hold names of a certificate that is not verified.
  constexpr std::size_t kMaxBytes = 4000;
  std::string text = ending.message;
  if (!text.empty() && !ending.detail.empty()) text += ". ";
  text += ending.detail;
  if (text.size() > kMaxBytes) text.replace(kMaxBytes, std::string::npos, "...");
  return text;
}

// `of_server`: with which the server refused the login; empty: it did not.
std::string_view sqlstate_of(std::string_view of_server, const Ending& ending) {
  return of_server.empty() ? describe(ending.reason).sqlstate : of_server;
}

struct Closing {
  const std::string& session;
  std::string_view phase;
  std::string_view parties;
  std::chrono::steady_clock::time_point accepted;
  std::string_view sqlstate;  // of the server; empty: that of the reason
  std::string_view earlier_attempts;
};

void log_closed(const Closing& closing, const Traffic& traffic, const Ending& ending) {
  const ReasonInfo& reason = describe(ending.reason);
  const auto duration = std::chrono::steady_clock::now() - closing.accepted;
  LogLine line(level_of(reason), "session_closed");
  line.add("session", closing.session)
      .add("reason", reason.name)
      .add("phase", closing.phase)
      .add_fields(closing.parties)
      .add("sent_bytes", traffic.sent)
      .add("received_bytes", traffic.received)
      .add("duration_ms", static_cast<std::uint64_t>(
                              std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()))
      .add("sqlstate", sqlstate_of(closing.sqlstate, ending))
      .add("detail", detail_of(ending))
      .add("earlier_attempts", closing.earlier_attempts);
}

std::string place_text(const std::string& file, int line) {
  return file.empty() ? "" : file + ':' + std::to_string(line);
}

// "DNS:db.example.com, URI:spiffe://prod/app", as openssl writes them.
std::string alternative_names(const tls::PeerCertificate& certificate) {
  std::string text;
  const auto add = [&text](std::string_view kind, const std::vector<std::string>& names) {
    for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(kind).append(name);
  };
  add("DNS:", certificate.dns_names);
  add("URI:", certificate.uris);
  add("email:", certificate.emails);
  return text;
}

// Whether the login has succeeded; if not, whether somebody has decided that it may not.
std::string_view outcome_of(const Ending* ending) {
  if (ending == nullptr) return "accepted";
  switch (ending->reason) {
    case Reason::client_closed:  // as psql does to ask its user for a password
    case Reason::client_lost:
    case Reason::shutting_down: return "incomplete";
    default: return "refused";
  }
}

// Values of a certificate that is not verified are cut: anybody can send one with names of any length.
void add_certificate(AuditRecord& audit, const tls::PeerCertificate* certificate, bool is_verified) {
  constexpr std::size_t kMaxUnverifiedBytes = 1000;
  const auto add = [&](std::string_view key, std::string_view value) {
    audit.add(key, is_verified ? value : value.substr(0, kMaxUnverifiedBytes));
  };
  add("subject", certificate != nullptr ? certificate->subject : "");
  add("issuer", certificate != nullptr ? certificate->issuer : "");
  add("serial", certificate != nullptr ? certificate->serial : "");
  add("fingerprint", certificate != nullptr ? certificate->sha256_fingerprint : "");
  add("names", certificate != nullptr ? alternative_names(*certificate) : "");
  add("not_after", certificate != nullptr ? tls::utc_text(certificate->not_after) : "");
}

}  // namespace

void Record::take(const Decision& decision) {
  if (decision.rule == nullptr) return;
  rule = place_text(decision.rule->file, decision.rule->line);
  method = protocol::name_of(decision.rule->method);
  system_user = decision.system_user;
  map_line = place_text(decision.mapped.file, decision.mapped.line);
}

void log_audit(const Record& record, const Ending* refusal) {
  const bool accepted = refusal == nullptr;
  AuditRecord audit(!accepted);
  audit.add("session", record.session)
      .add("outcome", outcome_of(refusal))
      .add("reason", accepted ? "" : describe(refusal->reason).name)
      .add("client", record.client)
      .add("listener", record.listener);
  const bool is_verified = record.client_tls && record.client_tls->peer;
  add_certificate(audit, is_verified ? &*record.client_tls->peer : record.refused_certificate.get(),
                  is_verified);
  audit.add("system_user", record.system_user)
      .add("rule", record.rule)
      .add("method", record.method)
      .add("map", record.map_line)
      .add("requested_user", record.requested_user)
      .add("user", record.user)
      .add("database", record.database)
      .add("upstream", record.upstream)
      .add("server", record.server)
      .add("server_method", record.server_method);
  for (const auto& [side, tls] : {std::pair{std::string("client_"), &record.client_tls},
                                  std::pair{std::string("server_"), &record.server_tls}})
    audit.add(side + "tls", *tls ? (*tls)->version : "")
        .add(side + "cipher", *tls ? (*tls)->cipher : "")
        .add(side + "group", *tls ? (*tls)->group : "")
        .add(side + "post_quantum", post_quantum_text(*tls))
        .add(side + "records", records_text(*tls));
  audit.add("detail", accepted ? "" : detail_of(*refusal));
  audit.add("client_server_name", record.client_tls ? record.client_tls->server_name : "");
  audit.add("sqlstate", accepted ? "" : sqlstate_of(record.server_sqlstate, *refusal));
}

EstablishedRecord log_session_started(const Record& record) {
  const LogFields fields = parties(record);
  LogLine(LogLevel::info, "session_started")
      .add("session", record.session)
      .add_fields(fields.text())
      .add("earlier_attempts", record.earlier_attempts);
  // Copied, for the copies have no room to spare.
  return {.session = record.session,
          .parties = fields.text(),
          .received_bytes = record.received_bytes,
          .accepted = record.accepted};
}

void log_session_closed(const Record& record, const Traffic& traffic, const Ending& ending,
                        std::string_view phase) {
  log_closed({.session = record.session,
              .phase = phase,
              .parties = parties(record).text(),
              .accepted = record.accepted,
              .sqlstate = record.server_sqlstate,
              .earlier_attempts = record.earlier_attempts},
             traffic, ending);
}

void log_session_closed(const EstablishedRecord& record, const Traffic& traffic, const Ending& ending) {
  log_closed({.session = record.session,
              .phase = "relay",
              .parties = record.parties,
              .accepted = record.accepted,
              .sqlstate = record.server_sqlstate,
              .earlier_attempts = ""},
             traffic, ending);
}

}  // namespace pgveil::proxy
