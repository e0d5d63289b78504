#include "proxy/record.h"

#include "proxy/log.h"

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

void add_parties(LogLine& line, const Record& record) {
  line.add("client", record.client)
      .add("listener", record.listener)
      .add("identity", "")
      .add("user", record.user)
      .add("database", record.database)
      .add("upstream", record.upstream)
      .add("server", record.server);
  const auto& tls = record.server_tls;
  line.add("tls", tls ? tls->version : "")
      .add("cipher", tls ? tls->cipher : "")
      .add("group", tls ? tls->group : "");
  const bool verified = tls && tls->peer;
  line.add("server_fingerprint", verified ? tls->peer->sha256_fingerprint : "")
      .add("server_not_after", verified ? tls::utc_text(tls->peer->not_after) : "");
}

}  // namespace

void log_session_started(const Record& record) {
  LogLine line(LogLevel::info, "session_started");
  line.add("session", record.session);
  add_parties(line, record);
}

void log_session_closed(const Record& record, const Ending& ending, std::string_view phase) {
  const ReasonInfo& reason = describe(ending.reason);
  const auto duration = std::chrono::steady_clock::now() - record.accepted;
  LogLine line(level_of(reason), "session_closed");
  line.add("session", record.session).add("reason", reason.name).add("phase", phase);
  add_parties(line, record);
  line.add("sent_bytes", record.sent_bytes)
      .add("received_bytes", record.received_bytes)
      .add("duration_ms", static_cast<std::uint64_t>(
                              std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()))
      .add("sqlstate", record.server_sqlstate.empty() ? reason.sqlstate : record.server_sqlstate)
      .add("detail", ending.detail.empty() ? ending.message : ending.detail);
}

}  // namespace pgveil::proxy
