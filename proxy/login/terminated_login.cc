#include "proxy/login/terminated_login.h"

#include <utility>

#include "protocol/sqlstate.h"

namespace pgveil::proxy {

// The server's first request waits until the client is authenticated. Before the request it is not known
// whether the server accepts the client's protocol version. After it, the login determines all messages.
Login::Taken TerminatedLogin::take_authentication(const protocol::Authentication& authentication,
                                                  const protocol::Message& /*message*/,
                                                  LoginAnswers& answers) {
  if (client_ && !has_credential_) return is_asking_ ? Taken::later : ask_client(authentication, answers);
  switch (server_->answer(authentication, answers.to_server)) {
    case ServerAuthenticator::Progress::answered: return Taken::yes;
    case ServerAuthenticator::Progress::later: return Taken::later;
    case ServerAuthenticator::Progress::failed: return fail(server_->ending());
    case ServerAuthenticator::Progress::accepted: break;
  }
  if (client_) client_->finish(answers.to_client);
  if (denial_) return fail(*denial_);
  protocol::encode_authentication(protocol::AuthenticationCode::ok, {}, answers.to_client);
  return Taken::yes;
}

Login::Taken TerminatedLogin::ask_client(const protocol::Authentication& first_request,
                                         LoginAnswers& answers) {
  if (auto objection = server_->objection_to(first_request)) return fail(*std::move(objection));
  is_asking_ = true;
  client_->begin(answers.to_client);
  return Taken::later;
}

// An error about pgveil's own login does not concern the client. Any other error does, such as a
// database that does not exist, or a role without the right to log in. PostgreSQL sends those after
// AuthenticationOk.
std::optional<Ending> TerminatedLogin::check_refusal(const protocol::ErrorFields& error, bool authenticated) {
  if (authenticated || !error.sqlstate.starts_with(protocol::sqlstate::kInvalidAuthorizationClass))
    return std::nullopt;
  return server_->refused(words_of(error));
}

bool TerminatedLogin::take_client(protocol::ByteReader& from_client, LoginAnswers& answers) {
  while (is_asking_) {
    const auto decoded = protocol::decode_message(from_client, client_->max_message_length());
    if (!decoded) {
      static_cast<void>(fail({.reason = Reason::protocol_violation, .message = "invalid message length"}));
      return false;
    }
    if (!decoded->has_value()) return true;
    switch (client_->take(**decoded, answers.to_client)) {
      case ClientAuthenticator::Progress::waiting: break;
      case ClientAuthenticator::Progress::failed: static_cast<void>(fail(client_->ending())); return false;
      case ClientAuthenticator::Progress::done:
        is_asking_ = false;
        has_credential_ = true;
        server_->use(client_->take_credential());
        break;
    }
  }
  return true;
}

}  // namespace pgveil::proxy
