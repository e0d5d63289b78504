// An error of the configuration, or a warning: where it is, what is wrong, and what to do. All layers of proxy/ that read
// settings, or the files that settings name, report with it.
#pragma once

#include <string>
#include <vector>

#include "protocol/auth_file.h"

namespace pgveil::proxy {

struct ConfigError {
  // "pgveil.toml", "--sslrootcert" or "PGVEIL_SSLROOTCERT"; empty: only the caller knows it.
  std::string file;
  int line = 0;         // 0: no line
  std::string key;      // "upstream.primary.sslrootcert"
  std::string message;  // in lower case and without a full stop, as in PostgreSQL
  std::string hint;     // sentences

  // "pgveil.toml:12: upstream.primary.sslrootcert: ", or as much of it as is known.
  [[nodiscard]] std::string location() const;
  // All of it in one line: "pgveil.toml:12: upstream.primary.port: invalid port "x". Use 1 to 65535."
  [[nodiscard]] std::string text() const;
};
using ConfigErrors = std::vector<ConfigError>;

// An error in a value, for a caller that knows its location.
[[nodiscard]] ConfigError value_error(std::string message, std::string hint);

// The errors of a parser of protocol/, which has a struct of its own, as it does not depend on proxy/. `key` is the setting
// that names the file.
[[nodiscard]] ConfigErrors config_errors_of(const protocol::AuthFileErrors& errors, const std::string& key);

}  // namespace pgveil::proxy
