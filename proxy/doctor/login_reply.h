// The first answer of a server to a StartupMessage: what it asks for, or why it refuses the login.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

struct LoginReply {
  std::optional<protocol::AuthenticationCode> asked;
  std::vector<std::string> mechanisms;           // of SASL
  std::optional<protocol::ErrorFields> refusal;  // instead of `asked`
  std::string error;                             // there is no answer that can be understood
  bool certificate_was_sent = false;             // of ours, so that a server may ask for nothing else
  StepDuration duration{0};
};

// Reads it from everything that the server has sent so far. nullopt: more bytes are needed.
[[nodiscard]] std::optional<LoginReply> read_login_reply(protocol::ByteView received);

}  // namespace pgveil::proxy
