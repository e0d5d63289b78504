// The files of this side: certificates, keys and CRLs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/doctor/finding.h"
#include "proxy/doctor/report.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {

// Returns the steps for sslcert and sslkey; no steps if sslcert is not set. Both were loaded before, so it is known that the key
// belongs to the certificate. `now` is in seconds since 1970.
[[nodiscard]] std::vector<Step> review_own_certificate(const Evidence& evidence, std::int64_t now);

// Returns the step, named `name`, for a key that has been loaded with its certificate.
[[nodiscard]] Step key_step(std::string name, const std::string& file);

// Returns the files of CRLs: `file`, and those in `directory` that OpenSSL finds. Either may be empty.
[[nodiscard]] std::vector<std::string> crl_files_of(const std::string& file, const std::string& directory);

// A CRL, and the file that has it.
struct CrlInFile {
  std::string file;
  tls::StoredCrl crl;
};
// Returns what is in sslcrl and sslcrldir.
[[nodiscard]] std::vector<CrlInFile> crls_of(const tls::ClientSettings& settings);
// Compares CRLs with the chain that was sent. Returns a step for each CRL: whether it is current, is of an authority of the chain,
// and revokes a certificate of the chain; and a step for each certificate whose authority has no CRL. If the chain is refused for
// what a step shows, the step has failed; otherwise it is noted. Returns no steps if there is no chain.
[[nodiscard]] std::vector<Step> review_crls(const std::vector<CrlInFile>& crls, const Evidence& evidence,
                                            std::int64_t now);

}  // namespace pgveil::proxy
