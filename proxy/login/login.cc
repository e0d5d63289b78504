#include "proxy/login/login.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "protocol/frontend.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

// Long notices and parameters are allowed before ReadyForQuery. No server sends a message near this size.
constexpr std::uint32_t kMaxLoginMessageLength = 1024 * 1024;

// The maximum size of a server's message in the log.
constexpr std::size_t kMaxWordsBytes = 1000;

// Returns whether libpq accepts the message before AuthenticationOk, or after it and before ReadyForQuery
// (fe-connect.c: PQconnectPoll, fe-protocol3.c: pqParseInput3).
bool belongs_to_login(char type, bool authenticated) {
  switch (type) {
    case protocol::kErrorResponse: return true;
    case protocol::kNegotiateProtocolVersion: return !authenticated;
    case protocol::kBackendKeyData:
    case protocol::kNoticeResponse:
    case protocol::kParameterStatus:
    case protocol::kReadyForQuery: return authenticated;
    default: return false;
  }
}

}  // namespace

Login::~Login() {
  if (cancel_key_) tls::wipe(std::span(cancel_key_->key));
}

Login::Progress Login::advance(protocol::ByteReader& from_server, LoginAnswers& answers) {
  for (;;) {
    protocol::ByteReader ahead = from_server;
    const auto decoded = protocol::decode_message(ahead, kMaxLoginMessageLength);
    if (!decoded) {
      static_cast<void>(fail(login_not_understood("a message of impossible length")));
      return Progress::failed;
    }
    if (!decoded->has_value()) return Progress::waiting;
    const protocol::Message& message = **decoded;
    if (message.type == protocol::kAuthentication) {
      if (authenticated_) {
        static_cast<void>(fail(login_not_understood("an authentication request after AuthenticationOk")));
        return Progress::failed;
      }
      const auto authentication = protocol::decode_authentication(message.body);
      const Taken taken = authentication
                              ? take_authentication(*authentication, message, answers)
                              : fail(login_not_understood("an authentication request that is too short"));
      if (taken == Taken::failed) return Progress::failed;
      if (taken == Taken::later) return Progress::waiting;
      from_server = ahead;
      authenticated_ = authentication->code == protocol::AuthenticationCode::ok;
      continue;
    }
    if (!belongs_to_login(message.type, authenticated_)) {
      static_cast<void>(fail(login_not_understood("a message that belongs to no login")));
      return Progress::failed;
    }
    from_server = ahead;
    if (message.type == protocol::kErrorResponse) {
      refusal_ = protocol::decode_error_fields(message.body).value_or(protocol::ErrorFields{});
      if (refusal_->sqlstate.empty()) refusal_->sqlstate = "unknown";
      if (auto ending = check_refusal(*refusal_, authenticated_)) {
        static_cast<void>(fail(*std::move(ending)));
        return Progress::failed;
      }
    }
    answers.to_client.insert(answers.to_client.end(), message.whole.begin(), message.whole.end());
    if (message.type == protocol::kBackendKeyData) {
      if (auto key = protocol::decode_backend_key_data(message.body)) cancel_key_ = std::move(*key);
    } else if (message.type == protocol::kReadyForQuery) {
      return Progress::finished;
    }
  }
}

Login::Taken Login::fail(Ending ending) {
  ending_ = std::move(ending);
  return Taken::failed;
}

Login::Taken RelayedLogin::take_authentication(const protocol::Authentication& authentication,
                                               const protocol::Message& message, LoginAnswers& answers) {
  const auto pass_on = [&] {
    answers.to_client.insert(answers.to_client.end(), message.whole.begin(), message.whole.end());
    return Taken::yes;
  };
  using Code = protocol::AuthenticationCode;
  const bool is_step = authentication.code == Code::sasl_continue ||
                       authentication.code == Code::sasl_final || authentication.code == Code::gss_continue;
  if (!is_step && !(authentication.code == Code::ok && asked_)) {
    const auto method = method_of(authentication);
    if (method ? !allowed_.has(*method) : allowed_ != AuthMethods::all())
      return fail(method_not_allowed(authentication, allowed_));
  }
  asked_ = true;
  if (binding_ == PlusMechanism::passed_on || authentication.code != protocol::AuthenticationCode::sasl)
    return pass_on();
  auto mechanisms = protocol::decode_sasl_mechanisms(authentication.data);
  if (!mechanisms) return fail(login_not_understood("a list of SASL mechanisms that is not well formed"));
  const auto plus = std::find(mechanisms->begin(), mechanisms->end(), protocol::kScramSha256Plus);
  if (plus == mechanisms->end()) return pass_on();
  if (binding_ == PlusMechanism::refused) {
    // The list is not changed: a client with channel_binding=disable says in its response whether the list
    // had PLUS, and its proof includes that.
    holds_client_ = true;
    return pass_on();
  }
  mechanisms->erase(plus);
  if (mechanisms->empty())
    return fail({.reason = Reason::upstream_requires_channel_binding,
                 .detail = "The server offers only SCRAM-SHA-256-PLUS.",
                 .hint = "Let the server offer SCRAM-SHA-256 as well."});
  protocol::encode_authentication_sasl(*mechanisms, answers.to_client);
  return Taken::yes;
}

Login::ClientCheck RelayedLogin::check_client(protocol::ByteView from_client) {
  protocol::ByteReader in(from_client);
  const auto decoded = protocol::decode_message(in, protocol::kMaxPasswordMessageLength);
  if (decoded && !decoded->has_value()) return ClientCheck::waiting;
  // A message that does not answer the request is passed on, and the server refuses it.
  holds_client_ = false;
  if (!decoded || (*decoded)->type != protocol::kPasswordMessage) return ClientCheck::passed;
  const auto response = protocol::decode_sasl_initial_response((*decoded)->body);
  if (!response || response->mechanism != protocol::kScramSha256Plus) return ClientCheck::passed;
  static_cast<void>(fail(
      {.reason = Reason::channel_binding_not_relayed,
       .detail =
           "The client bound its login to the TLS connection with the proxy; the server would find that "
           "it is not its own.",
       .hint =
           "Set channel_binding=disable on the client, or use a rule with method scram-sha-256 or cert, or "
           "shared_certificate."}));
  return ClientCheck::failed;
}

std::string describe(const protocol::Authentication& request) {
  const auto method = method_of(request);
  if (method == AuthMethod::password) return "a password in cleartext";
  if (method == AuthMethod::md5) return "an MD5 password";
  if (method == AuthMethod::scram_sha_256) return "a SCRAM-SHA-256 login";
  if (method == AuthMethod::gss) return "a GSSAPI login";
  if (method == AuthMethod::sspi) return "an SSPI login";
  if (method == AuthMethod::oauth) return "an OAuth token (OAUTHBEARER)";
  if (request.code != protocol::AuthenticationCode::sasl)
    return fmt::format("authentication request {}", static_cast<std::uint32_t>(request.code));
  std::string names;
  if (const auto mechanisms = protocol::decode_sasl_mechanisms(request.data))
    for (const auto name : *mechanisms) names.append(names.empty() ? "" : ", ").append(name);
  return "a SASL login by " + (names.empty() ? "no mechanism" : names);
}

Ending method_not_allowed(const protocol::Authentication& request, AuthMethods allowed) {
  const auto method = method_of(request);
  const bool asks = request.code != protocol::AuthenticationCode::ok;
  return {.reason = Reason::upstream_auth_not_allowed,
          .detail = (asks ? "The server asks for " + describe(request)
                          : "The server accepts the login without asking for anything") +
                    "; allowed is " + allowed.text() + '.',
          .hint = "Correct the server's pg_hba.conf" +
                  (method ? ", or allow it with \"" + std::string(name_of(*method)) + "\" in require_auth."
                          : std::string("."))};
}

std::string words_of(const protocol::ErrorFields& error) {
  return fmt::format("{} (SQLSTATE {})", std::string_view(error.message).substr(0, kMaxWordsBytes),
                     std::string_view(error.sqlstate).substr(0, kMaxWordsBytes));
}

Ending login_not_understood(const std::string& what) {
  return {.reason = Reason::upstream_protocol_violation,
          .detail = "The server sent " + what + " during the login.",
          .hint = "Check that a PostgreSQL server listens on this address."};
}

}  // namespace pgveil::proxy
