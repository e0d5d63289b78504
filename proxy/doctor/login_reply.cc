#include "proxy/doctor/login_reply.h"

#include "protocol/message.h"
#include "protocol/query_result.h"
#include "protocol/sqlstate.h"

namespace pgveil::proxy {
namespace {

// Notices, which can come before the answer, have at most this size; so do errors.
constexpr std::uint32_t kMaxLength = 30'000;

LoginReply not_understood() {
  LoginReply reply;
  reply.error = kNotOfPostgresql;
  return reply;
}

LoginReply reply_of(const protocol::Authentication& authentication) {
  LoginReply reply{.asked = authentication.code};
  if (authentication.code != protocol::AuthenticationCode::sasl) return reply;
  const auto mechanisms = protocol::decode_sasl_mechanisms(authentication.data);
  if (!mechanisms) return not_understood();
  reply.mechanisms.assign(mechanisms->begin(), mechanisms->end());
  return reply;
}

LoginReply reply_of(const protocol::Message& message) {
  if (message.type == protocol::kAuthentication) {
    const auto authentication = protocol::decode_authentication(message.body);
    return authentication ? reply_of(*authentication) : not_understood();
  }
  if (message.type != protocol::kErrorResponse) return not_understood();
  auto fields = protocol::decode_error_fields(message.body);
  if (!fields) return not_understood();
  LoginReply reply;
  reply.refusal = *std::move(fields);
  // It may be shown, and nobody knows who has written it (CVE-2024-10977).
  if (!protocol::sqlstate::is_well_formed(reply.refusal->sqlstate)) reply.refusal->sqlstate = "unknown";
  return reply;
}

bool comes_before_the_answer(char type) {
  return type == protocol::kNoticeResponse || type == protocol::kNegotiateProtocolVersion;
}

}  // namespace

std::optional<LoginReply> read_login_reply(protocol::ByteView received) {
  protocol::ByteReader in(received);
  std::optional<protocol::ProtocolVersion> newest;
  for (;;) {
    const auto message = protocol::decode_message(in, kMaxLength);
    if (!message) return not_understood();
    if (!*message) return std::nullopt;
    if (!comes_before_the_answer((*message)->type)) {
      LoginReply reply = reply_of(**message);
      reply.newest_version = newest;
      return reply;
    }
    if ((*message)->type != protocol::kNegotiateProtocolVersion) continue;
    const auto version = protocol::decode_negotiate_protocol_version((*message)->body);
    if (!version) return not_understood();
    newest = *version;
  }
}

}  // namespace pgveil::proxy
