// The verdict on a peer's certificate: OpenSSL's on the chain, libpq's on the name, and our report of both.
// For the .cc files of this layer only.
#pragma once

#include <string>

#include "tls/failure.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// What OpenSSL last said of the chain, at the certificate that it stopped at.
[[nodiscard]] FailureReport report_of(X509_STORE_CTX* verification);
[[nodiscard]] FailureReport wrong_name_report(X509* leaf, const std::string& host, CommonNameRule rule);
// For a client that asked for `name` (empty: for none), of which we have no certificate.
[[nodiscard]] FailureReport unrecognized_name_report(const std::string& name);

// Of a handshake that needs a post-quantum key exchange and had none in common with the peer; `reason` is
// OpenSSL's.
[[nodiscard]] std::string no_post_quantum_text(bool is_server, const std::string& reason);

// What OpenSSL's error queue holds after a failed SSL call; empties it.
[[nodiscard]] FailureReport take_ssl_failure();

// For the log of a server that shows `leaf`: the names in it, and the name that the client asked for (SNI).
[[nodiscard]] std::string shown_certificate_text(X509* leaf, const std::string& server_name);

}  // namespace pgveil::tls
