// What a server does on a connection of its own, step by step and without a judgement: look-up of its name, TCP, the answer to
// SSLRequest, and a TLS handshake that verifies nothing and sends nothing secret.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/upstream_greeting.h"
#include "proxy/base/socket_address.h"
#include "proxy/config/config.h"
#include "proxy/doctor/report.h"
#include "tls/handshake_survey.h"

namespace pgveil::proxy {

struct NameLookup {
  bool is_numeric = false;  // nothing was looked up
  std::vector<KernelAddress> addresses;
  std::string error;  // empty: there are addresses
  StepDuration duration{0};
};

struct ConnectionAttempt {
  KernelAddress address;
  std::string error;  // empty: it is connected
  StepDuration duration{0};
};

// The reply to SSLRequest.
struct GreetingReply {
  protocol::UpstreamGreeting::Answer answer = protocol::UpstreamGreeting::Answer::more;
  std::uint8_t byte = 0;
  bool is_http = false;  // an HTTP server has answered
  std::string error;     // there was no reply
  StepDuration duration{0};
};

struct HandshakeResult {
  std::optional<tls::SurveyedServer> server;  // nullopt: the handshake has failed
  std::string error;
  StepDuration duration{0};
};

// Steps that were not reached are empty.
struct ServerSurvey {
  NameLookup lookup;
  std::vector<ConnectionAttempt> attempts;  // the last one is connected, if any is
  std::optional<GreetingReply> greeting;    // nullopt with sslnegotiation = "direct", too
  std::optional<HandshakeResult> handshake;
  std::vector<tls::Version> versions;  // accepted_versions(), after a handshake
};

// Looks at the first host of `upstream`, which is not a Unix socket. `first_bytes` are sent at the beginning of the connection.
[[nodiscard]] ServerSurvey survey_server(const UpstreamConfig& upstream, const protocol::Bytes& first_bytes);

// Shakes hands on a new connection to `address`, with this version and no other.
[[nodiscard]] HandshakeResult survey_version(const UpstreamConfig& upstream, const KernelAddress& address,
                                             const protocol::Bytes& first_bytes, tls::Version version);

}  // namespace pgveil::proxy
