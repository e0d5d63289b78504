// Who a client is: the names that its certificate, or the process at its end of a Unix socket, gives it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/hba.h"
#include "protocol/startup.h"
#include "proxy/config/config.h"
#include "tls/peer_certificate.h"

namespace pgveil::proxy {

// The system users that a rule's clientname= reads from a certificate, each of which an identity map may be
// asked for. CN as PostgreSQL reads it, but none where it is not certain which name is meant: a second CN, or
// a subject that holds a NUL or is not text. DN likewise. FINGERPRINT is SHA-256, lower-case hexadecimal.
[[nodiscard]] std::vector<std::string> system_users(const tls::PeerCertificate& certificate,
                                                    protocol::CertificateName name);

// What is known of a client; both are empty if nothing is.
struct ClientIdentity {
  std::string_view who;          // the subject of its certificate, or the user of the process
  std::string_view system_user;  // the name by which a rule has let it in; empty: no rule asked for a name
};

// Tells the server who the client is, whatever the client itself says there. As information: a session can
// change both places later, and nothing may be decided by them. The application_name has room for one name:
// the system user if there is one. The client's own part is cut, since the server cuts the whole to the
// length of a name.
void announce_identity(protocol::StartupMessage& startup, const ClientIdentity& identity,
                       ClientIdentityIn place);

}  // namespace pgveil::proxy
