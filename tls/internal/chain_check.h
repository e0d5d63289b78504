// Verification of a peer's chain after its handshake, with the verdict that a new handshake would have. This header is
// internal to tls/.
#pragma once

#include <optional>
#include <string>

#include "tls/failure.h"
#include "tls/host_name.h"
#include "tls/internal/openssl.h"
#include "tls/peer_certificate.h"

namespace pgveil::tls {

struct ExpectedServer {
  const std::string& host;
  CommonNameRule common_name;
};

// Verifies the chain of a server, or, if `server` is null, of a client. Returns nullopt if it is valid. Throws
// std::bad_alloc.
[[nodiscard]] std::optional<FailureReport> check_chain(SSL_CTX* context, const PeerChain& chain,
                                                       const ExpectedServer* server);

}  // namespace pgveil::tls
