#include "proxy/doctor/further_probes.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/startup.h"
#include "proxy/base/timed_socket.h"
#include "proxy/doctor/login_survey.h"
#include "proxy/doctor/version_survey.h"

namespace pgveil::proxy {
namespace {

using Answer = protocol::UpstreamGreeting::Answer;
using Clock = TimedSocket::Clock;

// A server that has not answered SSLRequest is not waited for as long again.
constexpr std::chrono::milliseconds kPatienceOfProbes{2'000};
constexpr std::size_t kProbeBytes = 4'096;

// The settings for probes that may get no answer.
UpstreamConfig impatient(const UpstreamConfig& upstream) {
  UpstreamConfig config = upstream;
  const bool has_limit = config.connect_timeout.count() != 0;
  config.connect_timeout =
      has_limit ? std::min(config.connect_timeout, kPatienceOfProbes) : kPatienceOfProbes;
  return config;
}

// Sends bytes on a new connection. Returns what one read returns, or why there is nothing.
tl::expected<protocol::Bytes, std::string> exchange(const KernelAddress& address,
                                                    const protocol::Bytes& first_bytes,
                                                    protocol::ByteView request,
                                                    std::chrono::milliseconds time) {
  auto socket = TimedSocket::connect(address, Clock::now() + time);
  if (!socket) return tl::unexpected(socket.error());
  for (const protocol::ByteView bytes : {protocol::ByteView(first_bytes), request})
    if (auto error = socket->send(bytes)) return tl::unexpected(*std::move(error));
  auto received = socket->receive(kProbeBytes);
  if (received && received->empty()) return tl::unexpected<std::string>(kServerClosed);
  return received;
}

GssReply ask_for_gss(const KernelAddress& address, const protocol::Bytes& first_bytes,
                     std::chrono::milliseconds time) {
  const auto begin = Clock::now();
  protocol::Bytes request;
  protocol::encode_gss_enc_request(request);
  const auto answer = exchange(address, first_bytes, request, time);
  GssReply reply{.byte = answer ? static_cast<char>(answer->front()) : '\0',
                 .error = answer ? "" : answer.error()};
  reply.duration = since(begin);
  return reply;
}

bool answers_http(const UpstreamConfig& upstream, const KernelAddress& address,
                  const protocol::Bytes& first_bytes) {
  constexpr std::string_view kRequest = "HEAD / HTTP/1.0\r\n\r\n";
  const auto answer = exchange(address, first_bytes, protocol::as_bytes(kRequest), upstream.connect_timeout);
  return answer && protocol::as_text(*answer).starts_with("HTTP/");
}

// For a server that has not answered SSLRequest as PostgreSQL does.
Responder recognize_other(const UpstreamConfig& upstream, const KernelAddress& address,
                          const protocol::Bytes& first_bytes, const ServerSurvey& survey) {
  if (survey.greeting->is_http || answers_http(upstream, address, first_bytes)) return Responder::http;
  tls::HandshakeSurvey::Question question{.server_name = {}};
  question.protocols = {std::string(tls::kAlpnProtocol), "http/1.1"};
  const auto result = survey_handshake(upstream, address, first_bytes, question, SslNegotiation::direct);
  if (!result.server) return survey.greeting->error == kNoAnswer ? Responder::silent : Responder::unknown;
  if (result.server->protocol == tls::kAlpnProtocol) return Responder::direct_tls;
  return result.server->protocol.empty() ? Responder::tls : Responder::https;
}

bool speaks_postgresql(Answer answer) {
  return answer == Answer::accepted || answer == Answer::refused || answer == Answer::error_response;
}

// Nobody is logged in: a StartupMessage without a user is refused before pg_hba.conf is read.
Responder recognize(const KernelAddress& address, const protocol::Bytes& first_bytes,
                    std::chrono::milliseconds time) {
  return responder_of(ask_in_plaintext(address, first_bytes, LoginRequest{}, time))
      .value_or(Responder::unknown);
}

// Ciphers are tried up to TLS 1.2, if the server answers at all. Returns why they are not; empty: they are.
std::string why_ciphers_are_not_known(const AcceptedVersions& versions) {
  const bool is_unknown = std::ranges::find(versions.unknown, tls::Version::tls1_2) != versions.unknown.end();
  return is_unknown || versions.accepted.empty() ? versions.error : "";
}

}  // namespace

void add_further_probes(const UpstreamConfig& upstream, const protocol::Bytes& first_bytes,
                        ServerSurvey& survey) {
  const ConnectionAttempt* connected = survey.connected();
  if (connected == nullptr || upstream.sslmode == SslMode::disable) return;
  const KernelAddress& address = connected->address;
  const UpstreamConfig quick = impatient(upstream);
  if (survey.greeting && !speaks_postgresql(survey.greeting->answer)) {
    survey.responder = recognize_other(quick, address, first_bytes, survey);
    return;
  }
  survey.responder = recognize(address, first_bytes, quick.connect_timeout);
  const bool has_direct_tls = upstream.sslnegotiation == SslNegotiation::direct && survey.handshake &&
                              survey.handshake->server &&
                              survey.handshake->server->protocol == tls::kAlpnProtocol;
  if (survey.responder == Responder::unknown && has_direct_tls) survey.responder = Responder::direct_tls;
  survey.gss = ask_for_gss(address, first_bytes, quick.connect_timeout);
  if (upstream.sslnegotiation == SslNegotiation::postgres)
    survey.direct =
        survey_handshake(quick, address, first_bytes, {.server_name = {}}, SslNegotiation::direct);
  if (!survey.handshake || !survey.handshake->server) return;
  survey.versions = accepted_versions(quick, address, first_bytes);
  survey.broken_ciphers.error = survey.ciphers_without_forward_secrecy.error =
      why_ciphers_are_not_known(survey.versions);
  if (!survey.broken_ciphers.error.empty()) return;
  survey.broken_ciphers = accepted_ciphers(quick, address, first_bytes, tls::SurveyedCiphers::broken);
  // A server that does not answer any more is not waited for again.
  if (survey.broken_ciphers.error == kNoAnswer)
    survey.ciphers_without_forward_secrecy.error = kNoAnswer;
  else
    survey.ciphers_without_forward_secrecy =
        accepted_ciphers(quick, address, first_bytes, tls::SurveyedCiphers::no_forward_secrecy);
}

}  // namespace pgveil::proxy
