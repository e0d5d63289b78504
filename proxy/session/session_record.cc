#include "proxy/session/session_record.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "proxy/diagnostics/audit.h"
#include "proxy/diagnostics/log.h"
#include "proxy/diagnostics/log_text.h"

namespace pgveil::proxy {
namespace {

// The maximum length of a message, a detail or a hint in the log.
constexpr std::size_t kMaxTextBytes = 4000;

LogLevel level_of(const ReasonInfo& reason) {
  // Health checks and port scans do this often.
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

// Returns whether the key exchange is post-quantum; nullopt: there is no TLS.
std::optional<bool> is_post_quantum(const std::shared_ptr<const tls::Established>& tls) {
  return tls ? std::optional(tls->post_quantum) : std::nullopt;
}

std::string_view version_of(const std::shared_ptr<const tls::Established>& tls) {
  return tls ? std::string_view(tls->version) : std::string_view();
}

// Returns an empty text if there is no TLS, or if its key exchange has no group.
std::string_view group_of(const std::shared_ptr<const tls::Established>& tls) {
  return tls && tls->group != "-" ? std::string_view(tls->group) : std::string_view();
}

// Returns which implementation reads and writes the TLS records of the connection; empty: there is no TLS.
std::string_view records_text(const std::shared_ptr<const tls::Established>& tls) {
  if (!tls) return "";
  return tls->own_records ? "own" : "openssl";
}

LogFields full_parties(const Record& record) {
  LogFields fields;
  fields.add("client", record.client);
  if (!record.proxy.empty()) fields.add("proxy", record.proxy);
  fields.add("listener", record.listener)
      .add("worker", record.worker)
      .add("identity", record.identity)
      .add("user", record.user)
      .add("database", record.database)
      .add("upstream", record.upstream)
      .add("server", record.server);
  fields.add_flag("preconnected", record.preconnected);
  fields.add("client_tls", version_of(record.client_tls))
      .add("client_group", group_of(record.client_tls))
      .add_flag("client_post_quantum", is_post_quantum(record.client_tls));
  const auto& tls = record.server_tls;
  fields.add("tls", version_of(tls))
      .add("cipher", tls ? tls->cipher : "")
      .add("group", group_of(tls))
      .add_flag("post_quantum", is_post_quantum(tls));
  const bool verified = tls && tls->peer;
  fields.add("server_fingerprint", verified ? tls->peer->sha256_fingerprint : "")
      .add("server_not_after", verified ? tls::utc_text(tls->peer->not_after) : "");
  return fields;
}

// Returns whether the server is connected by a Unix socket.
bool has_unix_server(const Record& record) {
  return record.server.starts_with("unix:");
}

// The line of an established session has the server's address, or the upstream's name if the server is on a
// Unix socket: the name is shorter than the path.
LogFields brief_parties(const Record& record, bool is_established) {
  LogFields fields;
  fields.add("client", record.client)
      .add("proxy", record.proxy)
      .add("identity", record.identity)
      .add("user", record.user)
      .add("database", record.database);
  const bool has_unix = has_unix_server(record);
  if (!is_established || has_unix) fields.add("upstream", record.upstream);
  if (!is_established || !has_unix) fields.add("server", record.server);
  fields.add("client_tls", version_of(record.client_tls)).add("tls", version_of(record.server_tls));
  return fields;
}

// Returns copies of the texts, because a copy has no unused capacity.
Parties parties_of(const Record& record, bool is_established) {
  Parties parties;
  if (!log_is_json()) parties.brief = brief_parties(record, is_established).text();
  if (log_is_json() || should_log(LogLevel::debug)) parties.full = full_parties(record).text();
  return parties;
}

// Adds a text that may contain names of an unverified certificate, and cuts it at kMaxTextBytes.
void add_cut(LogLine& line, std::string_view key, std::string_view text) {
  std::string room;
  line.add(key, cut(text, kMaxTextBytes, room));
}

// Returns the details for the audit. The ending's own message has facts that the reason's general message
// does not have, for example the name of a startup parameter.
std::string detail_of(const Ending& ending) {
  std::string text = ending.message;
  if (!text.empty() && !ending.detail.empty()) text += ". ";
  text += ending.detail;
  return text;
}

// `of_server`: the SQLSTATE with which the server refused the login; empty: it did not refuse it.
std::string_view sqlstate_of(std::string_view of_server, const Ending& ending) {
  return of_server.empty() ? describe(ending.reason).sqlstate : of_server;
}

// Returns the message of the line; empty if nothing failed.
std::string_view logged_message(const Ending& ending) {
  const bool has_failed = !ending.message.empty() || describe(ending.reason).fault != Fault::none;
  return has_failed ? message_of(ending) : std::string_view();
}

std::uint64_t duration_ms(const Totals& totals) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(totals.duration).count());
}

struct Closing {
  const std::string& session;
  std::string_view phase;
  bool was_established;
  const Parties& parties;
  std::string_view rule;      // that decided
  std::string_view sqlstate;  // of the server; empty: that of the reason
  std::string_view earlier_attempts;
  const Totals& totals;
  const Ending& ending;
};

void add_ending(LogLine& line, const Closing& closing) {
  line.add("sqlstate", sqlstate_of(closing.sqlstate, closing.ending));
  add_cut(line, "message", logged_message(closing.ending));
  add_cut(line, "detail", closing.ending.detail);
  add_cut(line, "hint", closing.ending.hint);
  line.add("earlier_attempts", closing.earlier_attempts);
}

void add_every_key(LogLine& line, const Closing& closing) {
  line.add("session", closing.session)
      .add("reason", describe(closing.ending.reason).name)
      .add("phase", closing.phase)
      .add_fields(closing.parties.full)
      .add("sent_bytes", closing.totals.traffic.to_client.bytes)
      .add("received_bytes", closing.totals.traffic.to_server.bytes)
      .add("duration_ms", duration_ms(closing.totals));
  add_ending(line, closing);
}

// Adds the most important fields. The line fits a wide terminal, unless something failed.
void add_what_people_read(LogLine& line, const Closing& closing) {
  line.add("session", closing.session).add("reason", describe(closing.ending.reason).name);
  if (!closing.was_established) line.add("phase", closing.phase);
  line.add_fields(closing.parties.brief).add("duration_ms", duration_ms(closing.totals));
  if (closing.was_established) {
    line.add("sent", closing.totals.traffic.to_client.bytes)
        .add("received", closing.totals.traffic.to_server.bytes);
  } else {
    line.add("rule", closing.rule);
  }
  add_ending(line, closing);
}

void log_line_of_end(const Closing& closing) {
  LogLine line(level_of(describe(closing.ending.reason)), "session_closed");
  if (log_is_json()) {
    add_every_key(line, closing);
  } else {
    add_what_people_read(line, closing);
  }
}

void log_closed(const Closing& closing) {
  log_line_of_end(closing);
  if (log_is_json() || !should_log(LogLevel::debug)) return;
  LogLine line(LogLevel::debug, "session_record");
  add_every_key(line, closing);
}

std::string place_text(const std::string& file, int line) {
  return file.empty() ? "" : file + ':' + std::to_string(line);
}

// Returns for example "DNS:db.example.com, URI:spiffe://prod/app", in the form that openssl prints.
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

// Returns whether the login was accepted, was refused by a decision of pgveil or the server, or ended without one.
AuditOutcome outcome_of(const Ending* ending) {
  if (ending == nullptr) return AuditOutcome::accepted;
  switch (ending->reason) {
    case Reason::client_closed:             // psql does this to ask its user for a password
    case Reason::client_closed_in_message:  // for example inside its answer to the request for a password
    case Reason::client_lost:
    case Reason::shutting_down:
    case Reason::terminated:
    case Reason::draining: return AuditOutcome::abandoned;
    default: return AuditOutcome::refused;
  }
}

// Returns whether the client has proved who it is: by its certificate, or as the user of its process.
bool is_verified(const Record& record) {
  return (record.client_tls && record.client_tls->peer) || !record.identity.empty();
}

// Returns for example "2027-03-31T12:00:00Z".
std::string rfc3339_text(std::int64_t seconds) {
  std::string text = tls::utc_text(seconds);  // "2027-03-31 12:00:00 UTC"
  text.replace(text.rfind(' '), std::string::npos, "Z");
  text.replace(text.find(' '), 1, "T");
  return text;
}

// Adds the fields of a certificate. Values of an unverified certificate are cut: any client can send one with
// names of any length.
void add_certificate(AuditRecord& audit, const tls::PeerCertificate* certificate, bool is_verified) {
  constexpr std::size_t kMaxUnverifiedBytes = 1000;
  const auto add = [&](std::string_view key, std::string_view value) {
    std::string room;
    audit.add(key, is_verified ? value : cut(value, kMaxUnverifiedBytes, room));
  };
  add("subject", certificate != nullptr ? certificate->subject : "");
  add("issuer", certificate != nullptr ? certificate->issuer : "");
  add("serial", certificate != nullptr ? certificate->serial : "");
  add("fingerprint", certificate != nullptr ? certificate->sha256_fingerprint : "");
  add("names", certificate != nullptr ? alternative_names(*certificate) : "");
  add("not_after", certificate != nullptr ? rfc3339_text(certificate->not_after) : "");
  audit.add_flag("certificate_verified", certificate != nullptr ? std::optional(is_verified) : std::nullopt);
}

// Returns the fields that the record of the end repeats from that of the login. The copy has no unused capacity.
std::string audit_fields_of_end(const Record& record) {
  std::string fields;
  const auto add = [&fields](std::string_view key, std::string_view value) {
    std::string room;
    append_field(fields, true, key, cut(value, kMaxAuditValueBytes, room));
  };
  add("client", record.client);
  add("proxy", record.proxy);
  add("listener", record.listener);
  add("system_user", record.system_user);
  add("user", record.user);
  add("database", record.database);
  add("upstream", record.upstream);
  add("server", record.server);
  fields.shrink_to_fit();
  return fields;
}

struct TlsKeys {
  std::string_view version;
  std::string_view cipher;
  std::string_view group;
  std::string_view post_quantum;
  std::string_view records;
};
constexpr TlsKeys kClientKeys{"client_tls", "client_cipher", "client_group", "client_post_quantum",
                              "client_records"};
constexpr TlsKeys kServerKeys{"server_tls", "server_cipher", "server_group", "server_post_quantum",
                              "server_records"};

void add_tls(AuditRecord& audit, const TlsKeys& keys, const std::shared_ptr<const tls::Established>& tls) {
  audit.add(keys.version, version_of(tls))
      .add(keys.cipher, tls ? tls->cipher : "")
      .add(keys.group, group_of(tls))
      .add_flag(keys.post_quantum, is_post_quantum(tls))
      .add(keys.records, records_text(tls));
}

}  // namespace

void Record::take(const Decision& decision) {
  if (decision.rule == nullptr) return;
  rule = place_text(decision.rule->file, decision.rule->line);
  method = decision.rule->method;
  system_user = decision.system_user;
  map_line = place_text(decision.mapped.file, decision.mapped.line);
}

void log_audit(const Record& record, const Ending* refusal) {
  if (!AuditRecord::is_wanted()) return;
  const bool accepted = refusal == nullptr;
  if (!accepted && !is_verified(record) && !may_audit_stranger()) return;
  AuditRecord audit(outcome_of(refusal), record.session);
  audit.add("reason", accepted ? "" : describe(refusal->reason).name)
      .add("client", record.client)
      .add("proxy", record.proxy)
      .add("listener", record.listener);
  const bool has_verified = record.client_tls && record.client_tls->peer;
  add_certificate(audit, has_verified ? &*record.client_tls->peer : record.refused_certificate.get(),
                  has_verified);
  audit.add("system_user", record.system_user)
      .add("rule", record.rule)
      .add("method", record.method ? protocol::name_of(*record.method) : "")
      .add("map", record.map_line)
      .add("requested_user", record.requested_user)
      .add("user", record.user)
      .add("database", record.database)
      .add("upstream", record.upstream)
      .add("server", record.server)
      .add("server_method", record.server_method);
  add_tls(audit, kClientKeys, record.client_tls);
  add_tls(audit, kServerKeys, record.server_tls);
  audit.add("detail", accepted ? "" : detail_of(*refusal));
  audit.add("client_server_name", record.client_tls ? record.client_tls->server_name : "");
  audit.add("sqlstate", accepted ? "" : sqlstate_of(record.server_sqlstate, *refusal));
}

void log_audit_end(EstablishedRecord& record, const Totals& totals, const Ending& ending) {
  if (record.audit.empty()) return;
  AuditRecord(AuditOutcome::ended, record.session)
      .add("reason", describe(ending.reason).name)
      .add_json(record.audit)
      .add("duration_ms", duration_ms(totals))
      .add("sent_bytes", totals.traffic.to_client.bytes)
      .add("received_bytes", totals.traffic.to_server.bytes)
      .add("detail", detail_of(ending))
      .add("sqlstate", sqlstate_of(record.server_sqlstate, ending));
  record.audit.clear();
}

EstablishedRecord keep(const Record& record) {
  return {.session = record.session,
          .parties = parties_of(record, true),
          .earlier_attempts = record.earlier_attempts,
          .received_bytes = record.received_bytes,
          .accepted = record.accepted,
          .server_sqlstate = {},
          .audit = audits_ends() ? audit_fields_of_end(record) : std::string()};
}

// In the text format the line has the rule, because the log then has no audit record, except at level debug.
void log_session_started(const Record& record, const EstablishedRecord& established) {
  if (!logs_session_start()) return;
  LogLine line(LogLevel::info, "session_started");
  line.add("session", record.session);
  if (log_is_json()) {
    line.add_fields(established.parties.full);
  } else {
    line.add_fields(established.parties.brief);
    if (!has_unix_server(record)) line.add("upstream", record.upstream);
    if (record.preconnected) line.add_flag("preconnected", true);
    line.add("rule", record.rule).add("map", record.map_line);
  }
  line.add("earlier_attempts", record.earlier_attempts);
}

void log_session_closed(const Record& record, const Totals& totals, const Ending& ending,
                        std::string_view phase) {
  const Parties parties = parties_of(record, false);
  log_closed({.session = record.session,
              .phase = phase,
              .was_established = false,
              .parties = parties,
              .rule = record.rule,
              .sqlstate = record.server_sqlstate,
              .earlier_attempts = record.earlier_attempts,
              .totals = totals,
              .ending = ending});
}

void log_session_closed(const EstablishedRecord& record, const Totals& totals, const Ending& ending) {
  log_closed({.session = record.session,
              .phase = "relay",
              .was_established = true,
              .parties = record.parties,
              .rule = "",
              .sqlstate = record.server_sqlstate,
              .earlier_attempts = record.earlier_attempts,
              .totals = totals,
              .ending = ending});
}

}  // namespace pgveil::proxy
