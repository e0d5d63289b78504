#include "proxy/login.h"

#include <algorithm>

namespace pgveil::proxy {
namespace {

// Long notices and parameters are legal before ReadyForQuery; nothing near this size is sent by any server.
constexpr std::uint32_t kMaxLoginMessageLength = 1024 * 1024;

// What libpq takes before ReadyForQuery (fe-connect.c: PQconnectPoll, fe-protocol3.c: pqParseInput3).
bool belongs_to_login(char type) {
  switch (type) {
    case protocol::kBackendKeyData:
    case protocol::kErrorResponse:
    case protocol::kNegotiateProtocolVersion:
    case protocol::kNoticeResponse:
    case protocol::kParameterStatus:
    case protocol::kReadyForQuery: return true;
    default: return false;
  }
}

Ending not_understood(const std::string& what) {
  return {.reason = Reason::upstream_protocol_violation,
          .detail = "The server sent " + what + " during the login.",
          .hint = "Check that a PostgreSQL server is behind this address."};
}

}  // namespace

RelayedLogin::Progress RelayedLogin::advance(protocol::ByteReader& from_server, protocol::Bytes& to_client) {
  for (;;) {
    const auto decoded = protocol::decode_message(from_server, kMaxLoginMessageLength);
    if (!decoded) return fail(not_understood("a message of impossible length"));
    if (!decoded->has_value()) return Progress::waiting;
    const protocol::Message& message = **decoded;
    if (message.type == protocol::kAuthentication) {
      if (!take_authentication(message, to_client)) return Progress::failed;
      continue;
    }
    if (!belongs_to_login(message.type)) return fail(not_understood("a message that belongs to no login"));
    to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
    if (message.type == protocol::kBackendKeyData) {
      if (auto key = protocol::decode_backend_key_data(message.body)) cancel_key_ = std::move(*key);
    } else if (message.type == protocol::kErrorResponse) {
      const auto fields = protocol::decode_error_fields(message.body);
      refusal_ = fields && !fields->sqlstate.empty() ? fields->sqlstate : "unknown";
    } else if (message.type == protocol::kReadyForQuery) {
      return Progress::finished;
    }
  }
}

bool RelayedLogin::take_authentication(const protocol::Message& message, protocol::Bytes& to_client) {
  const auto authentication = protocol::decode_authentication(message.body);
  if (!authentication) {
    ending_ = not_understood("an authentication request that is too short");
    return false;
  }
  if (mechanisms_ == SaslMechanisms::verbatim || authentication->code != protocol::AuthenticationCode::sasl) {
    to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
    return true;
  }
  auto mechanisms = protocol::decode_sasl_mechanisms(authentication->data);
  if (!mechanisms) {
    ending_ = not_understood("a list of SASL mechanisms that is not well formed");
    return false;
  }
  std::erase(*mechanisms, protocol::kScramSha256Plus);
  if (mechanisms->empty()) {
    ending_ = {.reason = Reason::upstream_requires_channel_binding,
               .detail = "The server offers only SCRAM-SHA-256-PLUS.",
               .hint = "Let the server offer SCRAM-SHA-256 as well."};
    return false;
  }
  protocol::encode_authentication_sasl(*mechanisms, to_client);
  return true;
}

RelayedLogin::Progress RelayedLogin::fail(Ending ending) {
  ending_ = std::move(ending);
  return Progress::failed;
}

}  // namespace pgveil::proxy
