// The endings of clients that sent no StartupMessage: the TLS handshake failed, the client closed the connection, or
// its first bytes are not a startup packet. Details and hints are for the log: after a failed handshake, a client
// receives at most a TLS alert.
#pragma once

#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/negotiation.h"
#include "proxy/diagnostics/session_end.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// `certificate`: a description of pgveil's certificate, used if `failure` has no detail.
[[nodiscard]] Ending client_tls_ending(const tls::FailureReport& failure,
                                       const std::string& certificate = {});

// How a client ended its connection before its StartupMessage.
struct EarlyLeave {
  std::string error = {};  // the system's error, for example after a RST; empty: a regular end
  bool has_sent = false;
  bool inside_packet = false;
  bool inside_tls = false;
  protocol::Negotiation::Declined declined = protocol::Negotiation::Declined::nothing;
  std::string certificate = {};  // a description of the certificate that pgveil presented
};
[[nodiscard]] Ending early_leave_ending(const EarlyLeave& leave);

// Returns the ending for first bytes that are not a startup packet. Its detail names the protocol that they belong
// to, if pgveil recognizes it.
[[nodiscard]] Ending malformed_startup_ending(protocol::ByteView first_bytes, std::string message);

}  // namespace pgveil::proxy
