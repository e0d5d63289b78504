// The first answer of a server to a StartupMessage: what it asks for, or why it refuses the login.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

// The error of an answer that cannot be understood.
inline constexpr const char* kNotOfPostgresql = "the answer is not one of a PostgreSQL server";

struct LoginReply {
  std::optional<protocol::AuthenticationCode> asked = std::nullopt;
  std::vector<std::string> mechanisms = {};  // of SASL
  // Instead of `asked`. Its SQLSTATE is well-formed, or "unknown". The other fields are text of the server: they may be shown
  // only if it is verified.
  std::optional<protocol::ErrorFields> refusal = std::nullopt;
  // Why there is no usable answer. Empty: the answer is in `asked` or in `refusal`.
  std::string error = {};
  // The newest version of the server, if it does not know that of the StartupMessage.
  std::optional<protocol::ProtocolVersion> newest_version = std::nullopt;
  bool certificate_was_sent = false;  // of ours, so that a server may ask for nothing else
  // The size of the hash of the server's certificate to which channel binding binds; 0: none is defined.
  std::size_t end_point_bytes = 0;
  StepDuration duration{0};
};

// Reads it from everything that the server has sent so far. nullopt: more bytes are needed.
[[nodiscard]] std::optional<LoginReply> read_login_reply(protocol::ByteView received);

}  // namespace pgveil::proxy
