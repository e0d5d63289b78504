// What kept a client from sending its StartupMessage, as an ending: a TLS handshake that failed, or the
// client itself. The client gets a TLS alert at most; this is for the log.
#pragma once

#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/negotiation.h"
#include "proxy/diagnostics/session_end.h"
#include "tls/failure.h"

namespace pgveil::proxy {

// `certificate`: what is known of the certificate that the client was shown, if `failure` does not say it.
[[nodiscard]] Ending client_tls_ending(const tls::FailureReport& failure,
                                       const std::string& certificate = {});

// How a client ended its connection before its StartupMessage.
struct EarlyLeave {
  std::string error = {};  // the system's word, as after a RST; empty: a regular end
  bool has_sent = false;
  bool inside_packet = false;
  bool inside_tls = false;
  protocol::Negotiation::Declined declined = protocol::Negotiation::Declined::nothing;
  std::string certificate = {};  // what is known of the certificate that it was shown
};
[[nodiscard]] Ending early_leave_ending(const EarlyLeave& leave);

// The first bytes are not a startup packet. Names the protocol that they belong to, if it is known.
[[nodiscard]] Ending malformed_startup_ending(protocol::ByteView first_bytes, std::string message);

}  // namespace pgveil::proxy
