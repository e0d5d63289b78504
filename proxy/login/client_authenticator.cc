#include "proxy/login/client_authenticator.h"

#include <fmt/format.h>

#include <utility>

#include "protocol/backend.h"
#include "protocol/sqlstate.h"
#include "proxy/credentials/scram_hash.h"

namespace pgveil::proxy {
namespace {

Ending not_understood(std::string message) {
  return {.reason = Reason::protocol_violation, .message = std::move(message)};
}

// Returns the error of PostgreSQL's auth.c: recv_password_packet and CheckSASLAuth.
Ending unexpected_message(std::string_view expected, char type) {
  return not_understood(fmt::format("expected {} response, got message type {}", expected,
                                    static_cast<int>(static_cast<unsigned char>(type))));
}

protocol::ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

ClientAuthenticator::Progress ClientAuthenticator::fail(Ending ending) {
  ending_ = std::move(ending);
  return Progress::failed;
}

ScramClientAuthenticator::ScramClientAuthenticator(std::string user, AuthUser secret,
                                                   protocol::Bytes end_point)
    : user_(std::move(user)),
      salting_(secret.secret.salting),
      password_(std::move(secret.password)),
      has_end_point_(!end_point.empty()),
      scram_(scram_hash(), std::move(secret.secret), std::move(end_point), new_scram_nonce()) {}

void ScramClientAuthenticator::begin(protocol::Bytes& to_client) {
  protocol::encode_authentication_sasl(protocol::scram_mechanisms(has_end_point_), to_client);
}

ClientAuthenticator::Progress ScramClientAuthenticator::take(const protocol::Message& message,
                                                             protocol::Bytes& to_client) {
  if (message.type != protocol::kPasswordMessage) return fail(unexpected_message("SASL", message.type));
  protocol::ScramServer::Answer answer;
  if (!std::exchange(began_, true)) {
    const auto response = protocol::decode_sasl_initial_response(message.body);
    if (!response) return fail(not_understood("malformed SASLInitialResponse"));
    answer = scram_.take_initial_response(*response);
  } else {
    answer = scram_.take_response(message.body);
  }
  if (!answer) return fail(refused(answer.error()));
  if (scram_.finished()) {
    server_final_ = *std::move(answer);
    return Progress::done;
  }
  protocol::encode_authentication(protocol::AuthenticationCode::sasl_continue, bytes_of(*answer), to_client);
  return Progress::waiting;
}

Credential ScramClientAuthenticator::take_credential() {
  if (password_) return std::make_unique<KnownPassword>(password_, "auth_file");
  return KeysOfSalting{scram_.keys(), salting_};
}

void ScramClientAuthenticator::finish(protocol::Bytes& to_client) {
  protocol::encode_authentication(protocol::AuthenticationCode::sasl_final, bytes_of(server_final_),
                                  to_client);
}

Ending ScramClientAuthenticator::refused(protocol::ScramRefusal refusal) const {
  namespace sqlstate = protocol::sqlstate;
  const auto text = protocol::describe(refusal);
  Ending ending{.reason = Reason::protocol_violation,
                .message = std::string(text.message),
                .detail = std::string(text.detail)};
  if (text.sqlstate == sqlstate::kInvalidPassword) {
    ending.reason = Reason::password_wrong;
    ending.message += fmt::format(" for user \"{}\"", user_);
    // The text is the same for a user that auth_file does not have: the client must not learn which users
    // exist.
    if (ending.detail.empty())
      ending.detail =
          "The password is wrong, or auth_file does not have this user, or it has another secret than the "
          "server.";
    ending.hint =
        "After ALTER ROLE ... PASSWORD on the server, copy rolpassword of pg_authid into auth_file again.";
  } else if (text.sqlstate == sqlstate::kInvalidAuthorizationSpecification) {
    ending.reason = Reason::channel_binding_failed;
  } else if (text.sqlstate == sqlstate::kFeatureNotSupported) {
    ending.reason = Reason::unsupported_protocol;
  }
  return ending;
}

void PasswordClientAuthenticator::begin(protocol::Bytes& to_client) {
  protocol::encode_authentication(protocol::AuthenticationCode::cleartext_password, {}, to_client);
}

ClientAuthenticator::Progress PasswordClientAuthenticator::take(const protocol::Message& message,
                                                                protocol::Bytes& /*to_client*/) {
  if (message.type != protocol::kPasswordMessage) return fail(unexpected_message("password", message.type));
  const auto password = protocol::decode_password(message.body);
  if (!password) return fail(not_understood("invalid password packet size"));
  if (password->empty())
    return fail({.reason = Reason::password_wrong,
                 .message = "empty password returned by client",
                 .detail = fmt::format("User \"{}\" sent an empty password.", user_)});
  password_ = std::make_shared<const protocol::SecretText>(*password);
  return Progress::done;
}

Credential PasswordClientAuthenticator::take_credential() {
  return std::make_unique<KnownPassword>(std::move(password_), "");
}

}  // namespace pgveil::proxy
