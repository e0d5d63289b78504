// The versions of TLS that a server accepts, and its worst ciphers.
#pragma once

#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/doctor/report.h"
#include "proxy/doctor/server_survey.h"
#include "tls/handshake_survey.h"
#include "tls/settings.h"

namespace pgveil::proxy {

// Tries each version on a connection of its own, the newest first. After one without an answer in time, older ones are not tried.
[[nodiscard]] AcceptedVersions accepted_versions(const UpstreamConfig& upstream, const KernelAddress& address,
                                                 const protocol::Bytes& first_bytes);

// Returns the ciphers of this kind that the server takes with TLS 1.2 or older, the server's choice first. After
// eight, `error` is not empty.
[[nodiscard]] AcceptedCiphers accepted_ciphers(const UpstreamConfig& upstream, const KernelAddress& address,
                                               const protocol::Bytes& first_bytes,
                                               tls::SurveyedCiphers ciphers);

// Broken ciphers are a fault. The step passes only if all is known.
[[nodiscard]] Step ciphers_step(const AcceptedCiphers& broken,
                                const AcceptedCiphers& without_forward_secrecy);

// A version before TLS 1.2 is a fault (RFC 8996). The step passes only if all is known.
[[nodiscard]] Step versions_step(const AcceptedVersions& versions);

}  // namespace pgveil::proxy
