// When certificates and CRLs expire: those that a configuration names, and the certificates that servers have shown.
#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"
#include "proxy/snapshot/snapshot.h"
#include "tls/expiry.h"

namespace pgveil::proxy {

// Returns those of listeners and upstreams, each file once: own certificates with their chains, authorities, CRLs (file and
// directory), and certificates of roles. The authorities of the system are not among them.
[[nodiscard]] std::vector<tls::Expiry> expiries_of(const Config& config);

// The certificate that a server of an upstream has shown last.
struct ServerExpiry {
  std::string upstream;  // name
  tls::Expiry expiry;
};
// Returns those of the upstreams that listeners use. An upstream without a verified connection has none.
[[nodiscard]] std::vector<ServerExpiry> server_expiries(const Snapshot& snapshot);

}  // namespace pgveil::proxy
