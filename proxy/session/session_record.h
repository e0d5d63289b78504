// What is known of a session, for observers only: the audit record once its login is decided, the log line at
// the start of its relay and the one at its end.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/access/access_rules.h"
#include "proxy/diagnostics/session_end.h"
#include "tls/engine.h"

namespace pgveil::proxy {

struct Record {
  std::string session;   // unique in the process: "7f3a-2b"
  unsigned worker = 0;   // that it runs on, from 1 on
  std::string client;    // address
  std::string listener;  // address
  std::string
      identity;  // the subject of the client's certificate, or who is at the other end of a Unix socket
  std::string system_user;  // the name that was mapped
  std::string rule;         // where it stands: "/etc/pgveil/pg_hba.conf:7"
  std::string method;       // of the rule
  std::string map_line;     // likewise; empty: no map was asked
  std::string requested_user;
  std::string user;  // that the server sees
  std::string database;
  std::string upstream;          // name
  std::string server;            // address
  std::string earlier_attempts;  // at other addresses, which failed
  std::string server_method;     // by which pgveil has logged in itself: "SCRAM-SHA-256-PLUS", "none"
  std::string server_sqlstate;   // with which the server refused the login
  std::shared_ptr<const tls::Established> client_tls;  // null: without TLS
  std::shared_ptr<const tls::Established> server_tls;
  std::shared_ptr<const tls::PeerCertificate> refused_certificate;  // of the client: not verified
  bool prewarmed = false;  // its connection to the server was made ahead
  bool is_audited = false;
  std::uint64_t received_bytes = 0;  // from the client, before the relay
  std::chrono::steady_clock::time_point accepted = std::chrono::steady_clock::now();

  void take(const Decision& decision);
};

// Who takes part in a session, over which TLS: fields of the log, as its format and level want them.
struct Parties {
  std::string brief;  // what people read first; empty in JSON
  std::string full;   // every key; empty if no line has them
};

// What is left of it once the session is established: its last line says again what its first one said.
struct EstablishedRecord {
  std::string session;
  Parties parties;
  std::string earlier_attempts;
  std::uint64_t received_bytes = 0;
  std::chrono::steady_clock::time_point accepted;
  std::string server_sqlstate = {};  // with which the server ended the session
};

struct Traffic {
  std::uint64_t sent = 0;      // to the client, after its login
  std::uint64_t received = 0;  // from the client, its login included
};

// Who came, by which rule and map line, and became whom; or why not.
void log_audit(const Record& record, const Ending* refusal);

// Writes the line at the start of a session, unless log.session_start is off.
[[nodiscard]] EstablishedRecord log_session_started(const Record& record);
// Write the line at the end of a session. As text it has what people read first; at level debug a second line,
// session_record, has every key.
void log_session_closed(const Record& record, const Traffic& traffic, const Ending& ending,
                        std::string_view phase);
void log_session_closed(const EstablishedRecord& record, const Traffic& traffic, const Ending& ending);

}  // namespace pgveil::proxy
