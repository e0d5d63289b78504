// What an operator wants to know of one session. It is kept only if an admin address shows it.
#pragma once

#include <string>
#include <string_view>

#include "proxy/session/session_record.h"

namespace pgveil::proxy {

struct SessionDetails {
  std::string listener;  // address
  std::string client;    // address
  std::string identity;  // the subject of the client's certificate, or the user of its process
  std::string user;      // that is sent to the server, or that the client asks for
  std::string database;
  std::string rule;        // file and line; empty: none has matched yet
  std::string upstream;    // name
  std::string server;      // address
  std::string client_tls;  // version; empty: without TLS
  std::string server_tls;

  // Returns all values as one text without unused capacity, because it is kept for each idle session. A NUL in a value
  // becomes a space.
  [[nodiscard]] std::string pack() const;
  // `packed`: what pack() has returned.
  [[nodiscard]] static SessionDetails unpack(std::string_view packed);
};

[[nodiscard]] SessionDetails details_of(const Record& record);

}  // namespace pgveil::proxy
