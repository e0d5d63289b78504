// Who a client is: the names that its certificate, or the process behind its Unix socket, gives it.
#pragma once

#include <string>
#include <vector>

#include "protocol/hba.h"
#include "tls/peer_certificate.h"

namespace pgveil::proxy {

// The system users that a rule's clientname= reads from a certificate, each of which an identity map may be
// asked for. CN as PostgreSQL reads it, but none where it is not certain which name is meant: a second CN, or
// a subject that holds a NUL or is not text. DN likewise. FINGERPRINT is SHA-256, lower-case hexadecimal.
[[nodiscard]] std::vector<std::string> system_users(const tls::PeerCertificate& certificate,
                                                    protocol::CertificateName name);

// The user that owns the process at the other end of a Unix socket, as PostgreSQL's `peer` and libpq's
// requirepeer ask for it; empty: the kernel or the user database does not say.
[[nodiscard]] std::string peer_user(int descriptor);

}  // namespace pgveil::proxy
