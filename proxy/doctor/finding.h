// The finding of a failed verdict: the cause in the words of the session, and a remedy that names what must be changed.
#pragma once

#include <optional>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/diagnostics/session_end.h"
#include "proxy/doctor/report.h"
#include "proxy/doctor/server_survey.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// What is known beside the ending of the session.
struct Evidence {
  const UpstreamConfig& upstream;  // of one host
  const ServerSurvey& survey;
  const std::vector<tls::StoredCertificate>& chain;
  // Why the chain that was sent is refused; nullopt: it is valid, or there is none.
  const std::optional<tls::FailureReport>& refusal;
  // Whether the system's authorities trust the chain, if those of sslrootcert do not. nullopt: not asked.
  std::optional<bool> is_trusted_by_system = std::nullopt;
};
// Returns who has to change what belongs to us: the options of the command, or the settings of a configuration.
[[nodiscard]] inline Side own_side(const Evidence& evidence) {
  return evidence.upstream.name.empty() ? Side::client : Side::pgveil;
}
// Whether the chain is refused because of this fault of this certificate. OpenSSL does not need each certificate and each CRL. So
// one that is expired, revoked or missing is a fault only if the chain is refused for it.
[[nodiscard]] bool is_refused_for(const Evidence& evidence, tls::Failure failure,
                                  const tls::StoredCertificate& certificate);
// Returns the finding for a session that ends like this.
[[nodiscard]] Finding finding_of(const Ending& ending, const Evidence& evidence);

// Gives each failed step that has a reason a finding about its own certificate, unless `verdict` is about the same fault: the
// step of the verdict explains that one.
void explain_faults(std::vector<Step>& steps, const std::optional<Reason>& verdict, const Evidence& evidence);

}  // namespace pgveil::proxy
