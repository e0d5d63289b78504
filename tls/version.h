// Which OpenSSL runs, for `pgveil --version`.
#pragma once

#include <string>

namespace pgveil::tls {

// Such as "OpenSSL 3.0.19 27 Jan 2026": the library loaded, not the headers compiled against.
[[nodiscard]] std::string openssl_version();

}  // namespace pgveil::tls
