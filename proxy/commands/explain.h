// `pgveil explain`: what a listener would do with a client, decided by the code of the running program. It reads files, and
// runs the ssl_passphrase_command of a listener whose key is encrypted: it connects to nothing and looks up no name.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "proxy/config/config.h"
#include "proxy/config/config_error.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// A client as the command line describes it.
struct ExplainQuery {
  std::string listener;  // address; empty: the only one
  std::string client;    // address, without a port; empty: loopback, or a Unix socket
  bool has_tls = false;
  std::string certificate_file;          // PEM, with the chain; empty: the client shows none
  std::string server_name;               // that the client requests (SNI); empty: none
  std::string unix_user;                 // of the process at the other end of a Unix socket
  std::optional<std::string> host_name;  // of the client, for rules with a host name
  std::string user;
  std::optional<std::string> database;
  bool replication = false;  // a physical one
  bool all_rules = false;    // says of each earlier record why it does not match
};

// Prints the explanation to standard output, or all errors to standard error. Returns kExitOk if the client would be let in,
// kExitUnavailable if not, and kExitConfig or kExitUsage after errors.
[[nodiscard]] int run_explain(const ParsedConfig& parsed, const ExplainQuery& query);

struct Explanation {
  bool is_admitted = false;
  std::string text;  // lines
};
// An error is a sentence about the query.
[[nodiscard]] tl::expected<Explanation, ConfigError> explain(const Snapshot& snapshot,
                                                             const ExplainQuery& query);

}  // namespace pgveil::proxy
