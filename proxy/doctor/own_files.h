// The files of this side: our certificate and its key, and CRLs.
#pragma once

#include <cstdint>
#include <vector>

#include "proxy/doctor/finding.h"
#include "proxy/doctor/report.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {

// Returns the steps for sslcert and sslkey, which have been loaded, so that the key belongs to the certificate; none if there is no
// certificate. `now` is in seconds since 1970.
[[nodiscard]] std::vector<Step> review_own_certificate(const Evidence& evidence, std::int64_t now);

// A CRL, and the file that has it.
struct CrlInFile {
  std::string file;
  tls::StoredCrl crl;
};
// Returns what is in sslcrl and sslcrldir.
[[nodiscard]] std::vector<CrlInFile> crls_of(const tls::ClientSettings& settings);
// Compares CRLs with the chain that was sent: whether they are current, of an authority of the chain, and revoke a certificate of it.
// A certificate whose authority has no CRL is a fault, as for OpenSSL. Returns nothing if there is no chain.
[[nodiscard]] std::vector<Step> review_crls(const std::vector<CrlInFile>& crls, const Evidence& evidence,
                                            std::int64_t now);

}  // namespace pgveil::proxy
