// The version of OpenSSL, for `pgveil --version`.
#pragma once

#include <string>

namespace pgveil::tls {

// Returns the version of the loaded library, not of the headers; such as "OpenSSL 3.0.19 27 Jan 2026".
[[nodiscard]] std::string openssl_version();

}  // namespace pgveil::tls
