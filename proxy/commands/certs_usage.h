// What `pgveil certs` prints about the files that it has made: lines for pgveil.toml, postgresql.conf and libpq.
#pragma once

#include <string>

#include "tls/certificate_authority.h"

namespace pgveil::proxy {

// `path` is that of the files without ".crt" and ".key"; `authority` is the file ca.crt. The lines have absolute paths.
[[nodiscard]] std::string usage_of_authority(const std::string& authority);
[[nodiscard]] std::string usage_of_server(const std::string& path);
[[nodiscard]] std::string usage_of_client(const std::string& path, const std::string& authority,
                                          const std::string& user);
[[nodiscard]] std::string usage_of_crl(const std::string& crl);

}  // namespace pgveil::proxy
