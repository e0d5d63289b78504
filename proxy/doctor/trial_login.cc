#include "proxy/doctor/trial_login.h"

#include <utility>

#include "protocol/frontend.h"
#include "protocol/message.h"
#include "protocol/query_result.h"
#include "proxy/credentials/password_source.h"
#include "proxy/doctor/login_survey.h"

namespace pgveil::proxy {
namespace {

using Failure = TrialLogin::Failure;

// The largest message before ReadyForQuery, as libpq's.
constexpr std::uint32_t kMaxLoginMessage = 30'000;
// What a server may send before it.
constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

Failure lost(std::string error) {
  return {.ending = std::nullopt, .refusal = std::nullopt, .error = std::move(error)};
}

Failure ended(Ending ending) {
  return {.ending = std::move(ending), .refusal = std::nullopt, .error = {}};
}

Failure not_postgresql() {
  return lost("the answer is not one of a PostgreSQL server");
}

std::unique_ptr<PasswordSource> password_of(const LoginRequest& login) {
  if (login.password) return std::make_unique<KnownPassword>(login.password, "passfile");
  return std::make_unique<NoPassword>(Ending{.reason = Reason::upstream_asks_for_password,
                                             .detail = "The server asks for a password, and none is known.",
                                             .hint = "Give a password with PGPASSWORD or --passfile."});
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
  const UpstreamConfig& config = upstream_->config;
  authenticator_.emplace(
      ServerAuthenticator::Terms{.user = login_.user,
                                 .allowed = config.require_auth.value_or(AuthMethods::all()),
                                 .channel_binding = config.channel_binding,
                                 .has_tls = true,
                                 .end_point = tls->peer_end_point},
      key_cache_, static_cast<Wakeable&>(*this));
  authenticator_->use(password_of(login_));
  link_.send(startup_message_of(login_, protocol::kProtocol30));
  auto failure = exchange();
  duration_ = std::chrono::duration_cast<StepDuration>(std::chrono::steady_clock::now() - begin);
  return failure;
}

std::optional<Failure> TrialLogin::exchange() {
  protocol::Bytes received;
  for (bool done = false; !done;) {
    protocol::ByteReader in(received);
    const auto message = protocol::decode_message(in, kMaxLoginMessage);
    if (!message) return not_postgresql();
    if (*message) {
      if (auto failure = take((*message)->type, (*message)->body, done)) return failure;
      received.erase(received.begin(),
                     received.begin() + static_cast<std::ptrdiff_t>((*message)->whole.size()));
      continue;
    }
    auto bytes = link_.receive(time_);
    if (!bytes) return lost(bytes.error());
    if (bytes->empty()) return lost("the server closed the connection");
    received.insert(received.end(), bytes->begin(), bytes->end());
    if (received.size() > kMaxBytes) return lost("the answer is too large");
  }
  return std::nullopt;
}

std::optional<Failure> TrialLogin::take(char type, protocol::ByteView body, bool& done) {
  switch (type) {
    case protocol::kAuthentication: {
      const auto request = protocol::decode_authentication(body);
      return request ? answer(*request) : not_postgresql();
    }
    case protocol::kErrorResponse: {
      auto fields = protocol::decode_error_fields(body);
      if (!fields) return not_postgresql();
      return Failure{.ending = std::nullopt, .refusal = *std::move(fields), .error = {}};
    }
    case protocol::kParameterStatus: {
      auto status = protocol::decode_parameter_status(body);
      if (!status) return not_postgresql();
      parameters_.insert_or_assign(std::move(status->first), std::move(status->second));
      return std::nullopt;
    }
    case protocol::kBackendKeyData:
    case protocol::kNoticeResponse:
    case protocol::kNegotiateProtocolVersion: return std::nullopt;
    case protocol::kReadyForQuery: done = true; return std::nullopt;
    default: return not_postgresql();
  }
}

std::optional<Failure> TrialLogin::answer(const protocol::Authentication& request) {
  protocol::Bytes out;
  auto progress = authenticator_->answer(request, out);
  // SCRAM's keys are computed by another thread.
  while (progress == ServerAuthenticator::Progress::later) {
    link_.wait();
    progress = authenticator_->answer(request, out);
  }
  if (progress == ServerAuthenticator::Progress::failed) return ended(authenticator_->ending());
  if (!out.empty()) link_.send(out);
  protocol::wipe_secret(out);
  return std::nullopt;
}

tl::expected<protocol::QueryAnswer, std::string> TrialLogin::ask(std::string_view sql) {
  protocol::Bytes query;
  protocol::encode_query(sql, query);
  link_.send(query);
  protocol::QueryReader reader;
  for (;;) {
    const auto bytes = link_.receive(time_);
    if (!bytes) return tl::unexpected(bytes.error());
    if (bytes->empty()) return tl::unexpected<std::string>("the server closed the connection");
    switch (reader.receive(*bytes)) {
      case protocol::QueryReader::State::more: break;
      case protocol::QueryReader::State::complete: return reader.answer();
      case protocol::QueryReader::State::failed:
        return tl::unexpected<std::string>("the answer is not one of a PostgreSQL server");
    }
  }
}

void TrialLogin::close() {
  protocol::Bytes bytes;
  protocol::encode_terminate(bytes);
  link_.send(bytes);
  link_.close();
}

}  // namespace pgveil::proxy
