// The versions of TLS that a server accepts, and its worst ciphers.
#pragma once

#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/doctor/report.h"
#include "tls/handshake_survey.h"
#include "tls/settings.h"

namespace pgveil::proxy {

// Tries each version on a connection of its own. Returns those that are accepted, the oldest first.
[[nodiscard]] std::vector<tls::Version> accepted_versions(const UpstreamConfig& upstream,
                                                          const KernelAddress& address,
                                                          const protocol::Bytes& first_bytes);

// Returns the ciphers of this kind that the server takes with TLS 1.2 or older, the server's choice first; eight at most.
[[nodiscard]] std::vector<std::string> accepted_ciphers(const UpstreamConfig& upstream,
                                                        const KernelAddress& address,
                                                        const protocol::Bytes& first_bytes,
                                                        tls::SurveyedCiphers ciphers);

// Broken ciphers are a fault.
[[nodiscard]] Step ciphers_step(const std::vector<std::string>& broken,
                                const std::vector<std::string>& without_forward_secrecy);

// A version before TLS 1.2 is a fault (RFC 8996).
[[nodiscard]] Step versions_step(const std::vector<tls::Version>& accepted);

}  // namespace pgveil::proxy
