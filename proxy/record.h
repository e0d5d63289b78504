// What is known of a session, for observers only: the log line at the start of its relay and the one at its
// end.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/ending.h"
#include "tls/engine.h"

namespace pgveil::proxy {

struct Record {
  std::string session;   // unique in the process: "7f3a-2b"
  std::string client;    // address
  std::string listener;  // address
  std::string user;
  std::string database;
  std::string upstream;         // name
  std::string server;           // address
  std::string server_sqlstate;  // with which the server refused the login
  std::optional<tls::Established> server_tls;
  std::uint64_t sent_bytes = 0;      // to the client, after its login
  std::uint64_t received_bytes = 0;  // from the client, its login included
  std::chrono::steady_clock::time_point accepted = std::chrono::steady_clock::now();
};

void log_session_started(const Record& record);
void log_session_closed(const Record& record, const Ending& ending, std::string_view phase);

}  // namespace pgveil::proxy
