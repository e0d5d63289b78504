// The records of a server's pg_hba.conf, as pg_hba_file_rules shows them: which admit a login without TLS, without a password, or
// with the password itself.
#pragma once

#include <string>
#include <vector>

#include "protocol/query_result.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

struct HbaRule {
  std::string line;  // its number
  std::string file;  // empty before PostgreSQL 16, which does not tell it
  std::string type;  // "host"
  std::vector<std::string> databases, users;
  std::string address;  // empty: of a Unix socket
  std::string netmask;  // empty: the address is `all`, `samehost`, `samenet` or a host name
  std::string method;
  std::vector<std::string> options;  // "clientcert=verify-full"
  std::string error;                 // the server cannot use the record
};

// The query for a server of this major version; 0: not known.
[[nodiscard]] std::string hba_query(int major_version);
// Returns the record in a row of the answer.
[[nodiscard]] HbaRule hba_rule(const protocol::Row& row);

// `rules` are in the order of the file. Returns a step for each record that is a fault or remarkable, ten at most; otherwise one
// that has passed.
[[nodiscard]] std::vector<Step> review_hba(const std::vector<HbaRule>& rules);

}  // namespace pgveil::proxy
