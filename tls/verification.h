// The verdict on a peer's certificate: OpenSSL's on the chain, libpq's on the name, and our report of both.
// For the .cc files of this layer only.
#pragma once

#include <string>

#include "tls/failure.h"
#include "tls/openssl.h"

namespace pgveil::tls {

// What OpenSSL last said of the chain, at the certificate that it stopped at.
[[nodiscard]] FailureReport report_of(X509_STORE_CTX* verification);
[[nodiscard]] FailureReport wrong_name_report(X509* leaf, const std::string& host);
// For a client that asked for `name` (empty: for none), of which we have no certificate.
[[nodiscard]] FailureReport unrecognized_name_report(const std::string& name);

// What OpenSSL's error queue holds after a failed SSL call; empties it.
[[nodiscard]] FailureReport take_ssl_failure();

// For the log of a server that shows `leaf`: the names in it, and the name that the client asked for (SNI).
[[nodiscard]] std::string shown_certificate_text(X509* leaf, const std::string& server_name);

}  // namespace pgveil::tls
