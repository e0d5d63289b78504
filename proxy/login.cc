#include "proxy/login.h"

#include <algorithm>

#include "protocol/frontend.h"

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

// How an authentication request is called in a sentence.
std::string name_of(protocol::AuthenticationCode code) {
  using Code = protocol::AuthenticationCode;
  switch (code) {
    case Code::cleartext_password: return "a password in cleartext";
    case Code::md5_password: return "an MD5 password";
    case Code::sasl:
    case Code::sasl_continue:
    case Code::sasl_final: return "a SASL login, such as SCRAM-SHA-256";
    default: return "authentication request " + std::to_string(static_cast<std::uint32_t>(code));
  }
}

}  // namespace

Login::Progress Login::advance(protocol::ByteReader& from_server, protocol::Bytes& to_client) {
  for (;;) {
    const auto decoded = protocol::decode_message(from_server, kMaxLoginMessageLength);
    if (!decoded) {
      static_cast<void>(fail(not_understood("a message of impossible length")));
      return Progress::failed;
    }
    if (!decoded->has_value()) return Progress::waiting;
    const protocol::Message& message = **decoded;
    if (message.type == protocol::kAuthentication) {
      const auto authentication = protocol::decode_authentication(message.body);
      const bool taken = authentication ? take_authentication(*authentication, message, to_client)
                                        : fail(not_understood("an authentication request that is too short"));
      if (!taken) return Progress::failed;
      continue;
    }
    if (!belongs_to_login(message.type)) {
      static_cast<void>(fail(not_understood("a message that belongs to no login")));
      return Progress::failed;
    }
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

bool Login::fail(Ending ending) {
  ending_ = std::move(ending);
  return false;
}

bool RelayedLogin::take_authentication(const protocol::Authentication& authentication,
                                       const protocol::Message& message, protocol::Bytes& to_client) {
  if (binding_ == ChannelBinding::passed_on || authentication.code != protocol::AuthenticationCode::sasl) {
    to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
    return true;
  }
  auto mechanisms = protocol::decode_sasl_mechanisms(authentication.data);
  if (!mechanisms) return fail(not_understood("a list of SASL mechanisms that is not well formed"));
  const auto plus = std::find(mechanisms->begin(), mechanisms->end(), protocol::kScramSha256Plus);
  if (plus == mechanisms->end()) {
    to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
    return true;
  }
  if (binding_ == ChannelBinding::refused) {
    // The list stays whole: a client with channel_binding=disable says in its answer whether it saw PLUS, and
    // that is part of its proof.
    holds_client_ = true;
    to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
    return true;
  }
  mechanisms->erase(plus);
  if (mechanisms->empty())
    return fail({.reason = Reason::upstream_requires_channel_binding,
                 .detail = "The server offers only SCRAM-SHA-256-PLUS.",
                 .hint = "Let the server offer SCRAM-SHA-256 as well."});
  protocol::encode_authentication_sasl(*mechanisms, to_client);
  return true;
}

Login::Judgement RelayedLogin::judge_client(protocol::ByteView from_client) {
  protocol::ByteReader in(from_client);
  const auto decoded = protocol::decode_message(in, protocol::kMaxPasswordMessageLength);
  if (decoded && !decoded->has_value()) return Judgement::waiting;
  // What is no answer to the question is for the server to refuse.
  holds_client_ = false;
  if (!decoded || (*decoded)->type != protocol::kPasswordMessage) return Judgement::passed;
  const auto response = protocol::decode_sasl_initial_response((*decoded)->body);
  if (!response || response->mechanism != protocol::kScramSha256Plus) return Judgement::passed;
  static_cast<void>(
      fail({.reason = Reason::channel_binding_not_relayed,
            .detail =
                "The client bound its login to the TLS connection with the proxy; the server would find that "
                "it is not its own.",
            .hint = "Set channel_binding=disable on the client, or use a rule with method cert, or "
                    "shared_certificate."}));
  return Judgement::failed;
}

bool VouchedLogin::take_authentication(const protocol::Authentication& authentication,
                                       const protocol::Message& message, protocol::Bytes& to_client) {
  if (authentication.code != protocol::AuthenticationCode::ok)
    return fail(
        {.reason = Reason::upstream_asks_for_password,
         .detail = "The server asks for " + name_of(authentication.code) + ".",
         .hint = "Let the server accept the proxy by its client certificate (cert map=...), by peer or by "
                 "trust; or use a rule with method relay, so that the client is asked."});
  to_client.insert(to_client.end(), message.whole.begin(), message.whole.end());
  return true;
}

}  // namespace pgveil::proxy
