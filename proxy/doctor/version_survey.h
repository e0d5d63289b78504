// The versions of TLS that a server accepts.
#pragma once

#include <vector>

#include "protocol/bytes.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/doctor/report.h"
#include "tls/settings.h"

namespace pgveil::proxy {

// Tries each version on a connection of its own. Returns those that are accepted, the oldest first.
[[nodiscard]] std::vector<tls::Version> accepted_versions(const UpstreamConfig& upstream,
                                                          const KernelAddress& address,
                                                          const protocol::Bytes& first_bytes);

// A version before TLS 1.2 is a fault (RFC 8996).
[[nodiscard]] Step versions_step(const std::vector<tls::Version>& accepted);

}  // namespace pgveil::proxy
