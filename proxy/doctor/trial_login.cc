#include "proxy/doctor/trial_login.h"

#include <utility>

#include "protocol/frontend.h"
#include "protocol/message.h"
#include "protocol/query_result.h"
#include "proxy/base/timed_socket.h"
#include "proxy/credentials/password_source.h"
#include "proxy/doctor/login_reply.h"
#include "proxy/doctor/login_survey.h"
#include "proxy/login/server_authenticator.h"
#include "proxy/login/terminated_login.h"

namespace pgveil::proxy {
namespace {

using Failure = TrialLogin::Failure;

// What a server may send before ReadyForQuery, all messages together.
constexpr std::uint32_t kMaxLoginBytes = std::uint32_t{1} << 20;

Failure lost(std::string error) {
  return {.ending = std::nullopt, .refusal = std::nullopt, .error = std::move(error)};
}

Failure ended(Ending ending) {
  return {.ending = std::move(ending), .refusal = std::nullopt, .error = {}};
}

Failure refused_login(protocol::ErrorFields refusal) {
  return {.ending = std::nullopt, .refusal = std::move(refusal), .error = {}};
}

std::unique_ptr<PasswordSource> password_of(const LoginRequest& login) {
  if (login.password) return std::make_unique<KnownPassword>(login.password, login.password_source);
  return std::make_unique<NoPassword>(Ending{
      .reason = Reason::upstream_asks_for_password,
      .detail = "The server asks for a password, and none is known.",
      .hint = login.is_configured ? "Set passfile of the upstream, or give a password file with --passfile."
                                  : "Give a password with PGPASSWORD or --passfile."});
}

}  // namespace

TrialLogin::TrialLogin(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
                       const LoginRequest& login, Time time)
    : upstream_(upstream),
      login_(login),
      time_(time),
      link_(upstream, first_bytes, time),
      key_cache_(link_.loop()) {}

std::optional<Failure> TrialLogin::log_in() {
  if (auto failure = link_.connect()) return ended(*std::move(failure));
  const auto tls = link_.tls();
  if (!tls)
    return ended({.reason = Reason::upstream_refused_tls,
                  .detail = "The connection has no TLS, so no password is sent.",
                  .hint = "Use sslmode = \"verify-full\"."});
  const auto begin = std::chrono::steady_clock::now();
  const auto login = new_login(*tls);
  link_.send(startup_message_of(login_, protocol::kProtocol30));
  auto failure = exchange(*login);
  method_ = login->server_method();
  duration_ = since(begin);
  return failure;
}

// The login of a session in which pgveil logs in on behalf of a client.
std::unique_ptr<Login> TrialLogin::new_login(const tls::Established& tls) {
  const UpstreamConfig& config = upstream_->config;
  auto server = std::make_unique<ServerAuthenticator>(
      ServerAuthenticator::Terms{.user = login_.user,
                                 .allowed = config.require_auth.value_or(AuthMethods::all()),
                                 .channel_binding = config.channel_binding,
                                 .has_tls = true,
                                 .end_point = tls.peer_end_point},
      key_cache_, static_cast<Wakeable&>(*this));
  server->use(password_of(login_));
  return std::make_unique<TerminatedLogin>(nullptr, std::move(server));
}

std::optional<Failure> TrialLogin::exchange(Login& login) {
  const auto deadline = LoneLink::Clock::now() + time_;
  for (std::size_t total = 0;;) {
    const auto progress = advance(login);
    if (login.refusal()) return refused_login(*login.refusal());
    if (progress == Login::Progress::finished) return std::nullopt;
    if (progress == Login::Progress::failed) return ended(login.ending());
    if (LoneLink::Clock::now() >= deadline) return lost(kNoAnswer);
    // It may also wait for the keys of SCRAM, which another thread computes.
    const auto bytes = link_.receive_arrived();
    if (!bytes) {
      static_cast<void>(link_.wait(deadline));
      continue;
    }
    if (!*bytes) return lost(bytes->error());
    if ((*bytes)->empty()) return lost(kServerClosed);
    total += (*bytes)->size();
    if (total > kMaxLoginBytes) return lost(kAnswerTooLarge);
    received_.insert(received_.end(), (*bytes)->begin(), (*bytes)->end());
  }
}

// Gives the login what was received, and sends its answers.
Login::Progress TrialLogin::advance(Login& login) {
  protocol::ByteReader in(received_);
  LoginAnswers answers;
  const auto progress = login.advance(in, answers);
  received_.erase(received_.begin(), received_.end() - static_cast<std::ptrdiff_t>(in.remaining()));
  if (!answers.to_server.empty()) link_.send(answers.to_server);
  protocol::wipe_secret(answers.to_server);
  note_parameters(answers.to_client);
  return progress;
}

// `messages` are those that a client would get.
void TrialLogin::note_parameters(protocol::ByteView messages) {
  protocol::ByteReader in(messages);
  for (auto message = protocol::decode_message(in, kMaxLoginBytes); message && *message;
       message = protocol::decode_message(in, kMaxLoginBytes)) {
    if ((*message)->type != protocol::kParameterStatus) continue;
    if (auto status = protocol::decode_parameter_status((*message)->body))
      parameters_.insert_or_assign(std::move(status->first), std::move(status->second));
  }
}

tl::expected<protocol::QueryAnswer, std::string> TrialLogin::ask(std::string_view sql) {
  if (!lost_.empty()) return tl::unexpected(lost_);
  protocol::Bytes query;
  protocol::encode_query(sql, query);
  link_.send(query);
  auto answer = receive_answer();
  if (!answer) lost_ = answer.error();
  return answer;
}

tl::expected<protocol::QueryAnswer, std::string> TrialLogin::receive_answer() {
  const auto deadline = LoneLink::Clock::now() + time_;
  protocol::QueryReader reader;
  auto state = reader.receive(std::exchange(received_, {}));
  while (state == protocol::QueryReader::State::more) {
    const auto bytes = link_.receive(deadline);
    if (!bytes) return tl::unexpected(bytes.error());
    if (bytes->empty()) return tl::unexpected<std::string>(kServerClosed);
    state = reader.receive(*bytes);
  }
  if (state == protocol::QueryReader::State::failed) return tl::unexpected<std::string>(kNotOfPostgresql);
  received_.assign(reader.rest().begin(), reader.rest().end());
  return reader.answer();
}

void TrialLogin::close() {
  protocol::Bytes bytes;
  protocol::encode_terminate(bytes);
  link_.send(bytes);
  link_.close();
}

}  // namespace pgveil::proxy
