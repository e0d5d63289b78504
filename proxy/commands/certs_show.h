// `pgveil certs show`: what certificates, CRLs and keys are good for, in PostgreSQL's terms.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tls/stored_credentials.h"

namespace pgveil::proxy {

// The path and the content of a file.
using ShownFile = std::pair<std::string, tls::StoredFile>;

// `now` is in seconds since 1970.
[[nodiscard]] std::string certs_text(const std::vector<ShownFile>& files, std::int64_t now);
[[nodiscard]] std::string certs_json(const std::vector<ShownFile>& files, std::int64_t now);

}  // namespace pgveil::proxy
