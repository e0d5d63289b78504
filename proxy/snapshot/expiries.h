// The certificates and CRLs that a configuration names, with the times at which they expire.
#pragma once

#include <vector>

#include "proxy/config/config.h"
#include "tls/expiry.h"

namespace pgveil::proxy {

// Returns those of listeners and upstreams, each file once: own certificates with their chains, authorities, CRLs (file and
// directory), and certificates of roles. The authorities of the system are not among them.
[[nodiscard]] std::vector<tls::Expiry> expiries_of(const Config& config);

}  // namespace pgveil::proxy
