// Where the system keeps the certificates of its authorities.
#pragma once

#include <string>
#include <vector>

namespace pgveil::tls {

// Returns the file and the directories that sslrootcert = "system" reads: OpenSSL's defaults, or what SSL_CERT_FILE and
// SSL_CERT_DIR name (X509_get_default_cert_file(3)). They may not exist.
[[nodiscard]] std::vector<std::string> system_trust_paths();

}  // namespace pgveil::tls
