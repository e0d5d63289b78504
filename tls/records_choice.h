// The choice of what handles the records of TLS 1.3 after a handshake: OpenSSL, or our own record layer
// (tls/internal/record_layer.h, docs/decisions/0016-records-of-our-own.md).
#pragma once

#include <string>

namespace pgveil::tls {

// The setting limits.tls_records. `automatic`: our own record layer, if it is tested with the running
// OpenSSL.
enum class Records { automatic, openssl, own };

struct RecordsChoice {
  bool own = false;
  std::string because;  // for the log, such as "OpenSSL 3.9 is not tested"
};

// Chooses what the running OpenSSL and its configuration allow. With FIPS it is never our own record layer,
// even if `wanted` asks for it.
[[nodiscard]] RecordsChoice choose_records(Records wanted);

}  // namespace pgveil::tls
