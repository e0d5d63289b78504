// The verdict on a peer's certificate: OpenSSL verifies the chain, libpq's rules the name, and a report has
// the result. This header is internal to tls/.
#pragma once

#include <string>

#include "tls/failure.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// Returns OpenSSL's last error for the chain, at the certificate where verification stopped.
[[nodiscard]] FailureReport report_of(X509_STORE_CTX* verification);
[[nodiscard]] FailureReport wrong_name_report(X509* leaf, const std::string& host, CommonNameRule rule);
// Returns the report for a client that requested `name` (empty: no name), if we have no certificate for it.
[[nodiscard]] FailureReport unrecognized_name_report(const std::string& name);

// Returns text for a handshake that requires a post-quantum key exchange and found none in common with the
// peer. `reason` is OpenSSL's.
[[nodiscard]] std::string no_post_quantum_text(bool is_server, const std::string& reason);

// Returns the error in OpenSSL's queue after a failed SSL call, and empties the queue.
[[nodiscard]] FailureReport take_ssl_failure();

// Returns text for the log of a server that presents `leaf`: the names in it, and the name that the client
// requested (SNI).
[[nodiscard]] std::string shown_certificate_text(X509* leaf, const std::string& server_name);

}  // namespace pgveil::tls
