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
#include "proxy/doctor/responder.h"
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

enum class HandshakeEnd {
  agreed,       // the server has chosen a version and a cipher; what comes after that may have failed
  refused,      // the server has no version or no cipher of those that were offered
  not_offered,  // the OpenSSL of this machine cannot offer what was to be offered
  // There was no connection, no TLS, no answer, or an alert for another reason, so nothing is known of what the server accepts.
  unknown,
};

struct HandshakeResult {
  // nullopt: the handshake has failed. One that the server ends only because no certificate was sent does not count as failed.
  std::optional<tls::SurveyedServer> server;
  std::string error;
  StepDuration duration{0};
  HandshakeEnd end = HandshakeEnd::unknown;
  std::string cipher = {};  // of HandshakeEnd::agreed
};

// The versions of TLS that a server accepts, and those of which that is not known, each the oldest first.
struct AcceptedVersions {
  std::vector<tls::Version> accepted;
  std::vector<tls::Version> unknown;
  std::string error;  // why; empty: all are known, and one is accepted
};

// Ciphers that a server accepts.
struct AcceptedCiphers {
  std::vector<std::string> names;
  std::string error;  // why it is not known whether there are more; empty: it is known
};

// The reply to GSSENCRequest.
struct GssReply {
  char byte = 0;      // 'G', 'N' or 'E'; 0: there was no reply
  std::string error;  // why there was none
  StepDuration duration{0};
};

// Steps that were not reached are empty.
struct ServerSurvey {
  NameLookup lookup;
  std::vector<ConnectionAttempt> attempts;  // one for each address
  std::optional<GreetingReply> greeting;    // nullopt with sslnegotiation = "direct", too
  std::optional<HandshakeResult> handshake;
  // What further_probes.h adds.
  std::optional<Responder> responder;
  std::optional<GssReply> gss;
  std::optional<HandshakeResult> direct;  // direct TLS, unless it is that of `handshake`
  AcceptedVersions versions;              // after a handshake, as the ciphers
  AcceptedCiphers broken_ciphers;
  AcceptedCiphers ciphers_without_forward_secrecy;

  // Returns the first attempt that was successful; null: none was.
  [[nodiscard]] const ConnectionAttempt* connected() const;
};

// Looks at the first host of `upstream`, which is not a Unix socket. `first_bytes` are sent at the beginning of the connection.
[[nodiscard]] ServerSurvey survey_server(const UpstreamConfig& upstream, const protocol::Bytes& first_bytes);

// Shakes hands on a new connection to `address`, after SSLRequest or directly. The server name of `question` is that of
// `upstream`.
[[nodiscard]] HandshakeResult survey_handshake(const UpstreamConfig& upstream, const KernelAddress& address,
                                               const protocol::Bytes& first_bytes,
                                               tls::HandshakeSurvey::Question question,
                                               SslNegotiation negotiation);

}  // namespace pgveil::proxy
