// The data of a session for observers only: for the audit record once the login is decided, for the log line
// at the start of the relay, and for the log line and the audit record at the end of the session.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/hba.h"
#include "proxy/access/access_rules.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/session/traffic.h"
#include "tls/engine.h"

namespace pgveil::proxy {

struct Record {
  std::string session;  // unique in the process: "7f3a-2b"
  unsigned worker = 0;  // number of its worker, from 1 on
  std::string client;   // address
  std::string
      proxy;  // address of the proxy that has told the client's address in a PROXY header; empty: none
  std::string listener;  // address
  std::string
      identity;  // the subject of the client's certificate, or the user of the client's process on a Unix socket
  std::string system_user;                    // the name that was mapped
  std::string rule;                           // file and line: "/etc/pgveil/pg_hba.conf:7"
  std::optional<protocol::HbaMethod> method;  // of the rule; nullopt: no rule has matched
  std::string map_line;                       // file and line of the identity map; empty: no map was used
  std::string requested_user;
  std::string user;  // that is sent to the server
  std::string database;
  std::string upstream;          // name
  std::string server;            // address
  std::string earlier_attempts;  // at other addresses, which failed
  std::string server_method;     // with which pgveil itself has logged in: "SCRAM-SHA-256-PLUS", "none"
  std::string server_sqlstate;   // with which the server refused the login
  std::shared_ptr<const tls::Established> client_tls;  // null: without TLS
  std::shared_ptr<const tls::Established> server_tls;
  std::shared_ptr<const tls::PeerCertificate> refused_certificate;  // of the client: not verified
  bool preconnected = false;  // its connection to the server was pre-established
  bool is_audited = false;
  std::uint64_t received_bytes = 0;  // from the client, before the relay
  std::chrono::steady_clock::time_point accepted = std::chrono::steady_clock::now();

  void take(const Decision& decision);
};

// The client, the server and the TLS of a session as log fields, in the form that the log's format and level need.
struct Parties {
  std::string brief;  // the most important fields, in the text format; empty in JSON
  std::string full;   // all fields; empty if no log line has them
};

// The data that is kept for an established session. Its last log line repeats fields of its first one.
struct EstablishedRecord {
  std::string session;
  Parties parties;
  std::string earlier_attempts;
  std::uint64_t received_bytes = 0;
  std::chrono::steady_clock::time_point accepted;
  std::string server_sqlstate = {};  // with which the server ended the session
  std::string details = {};          // SessionDetails::pack(); empty: nobody asks for them
  std::string audit = {};            // fields of the audit record at the end, in JSON; empty: there is none
};

// The numbers in the log line at the end of a session.
struct Totals {
  Traffic traffic = {};
  std::chrono::steady_clock::duration duration{0};  // from accept
};

// Writes the audit record: the client, the rule and the map line that matched, and the user that it became;
// or the reason why the login failed. The record of a client without a verified identity may only be counted
// (audit.stranger_rate).
void log_audit(const Record& record, const Ending* refusal);
// Writes the audit record at the end of a session. A second call does nothing.
void log_audit_end(EstablishedRecord& record, const Totals& totals, const Ending& ending);

// Returns the data that is kept once the session is established.
[[nodiscard]] EstablishedRecord keep(const Record& record);
// Writes the line at the start of a session, unless log.session_start is off.
void log_session_started(const Record& record, const EstablishedRecord& established);
// Write the log line at the end of a session. In the text format it has the most important fields; at level
// debug a second line, session_record, has all fields.
void log_session_closed(const Record& record, const Totals& totals, const Ending& ending,
                        std::string_view phase);
void log_session_closed(const EstablishedRecord& record, const Totals& totals, const Ending& ending);

}  // namespace pgveil::proxy
