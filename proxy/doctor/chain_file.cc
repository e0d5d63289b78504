#include "proxy/doctor/chain_file.h"

#include <fmt/format.h>

#include "proxy/diagnostics/log_text.h"
#include "tls/peer_certificate.h"

namespace pgveil::proxy {

std::string chain_file(const ServerReport& report, std::int64_t now) {
  std::string text =
      fmt::format("# Sent by {} on {}. NOT VERIFIED: compare the fingerprints with those of the server.\n",
                  printable(report.server), tls::utc_text(now));
  for (const auto& certificate : report.chain)
    text += fmt::format("\n# subject: {}\n# issuer: {}\n# SHA-256 fingerprint: {}\n{}",
                        printable(certificate.values.subject), printable(certificate.values.issuer),
                        certificate.values.sha256_fingerprint, certificate.pem);
  return text;
}

}  // namespace pgveil::proxy
