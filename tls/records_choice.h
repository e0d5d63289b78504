// Who reads and writes the records of TLS 1.3 after a handshake: OpenSSL, or our own record layer
// (tls/internal/record_layer.h, docs/decisions/0016-records-of-our-own.md).
#pragma once

#include <string>

namespace pgveil::tls {

// As the setting limits.tls_records says: `automatic` takes our own where it has been tested.
enum class Records { automatic, openssl, own };

struct RecordsChoice {
  bool own = false;
  std::string because;  // for the log, such as "OpenSSL 3.9 is not tested"
};

// What is possible with the OpenSSL that runs and with how it is configured: with FIPS it is never our own,
// even if `wanted` says so.
[[nodiscard]] RecordsChoice choose_records(Records wanted);

}  // namespace pgveil::tls
