// A record of a server's pg_hba.conf.
#pragma once

#include <string>
#include <vector>

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

}  // namespace pgveil::proxy
