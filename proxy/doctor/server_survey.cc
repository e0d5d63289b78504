#include "proxy/doctor/server_survey.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "proxy/base/timed_socket.h"
#include "tls/buffers.h"
#include "tls/engine.h"

namespace pgveil::proxy {
namespace {

using Clock = TimedSocket::Clock;
using Answer = protocol::UpstreamGreeting::Answer;

constexpr std::size_t kRecordBytes = 16'384;
// The time for each step if connect_timeout is 0.
constexpr std::chrono::milliseconds kPatience{10'000};
// The time for each further address, after one was connected.
constexpr std::chrono::milliseconds kPatienceForOthers{1'000};

std::chrono::milliseconds patience_of(const UpstreamConfig& upstream) {
  return upstream.connect_timeout.count() == 0 ? kPatience : upstream.connect_timeout;
}

void set_port(KernelAddress& address, std::uint16_t port) {
  if (address.family() == AF_INET) reinterpret_cast<sockaddr_in*>(address.get())->sin_port = htons(port);
  if (address.family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(address.get())->sin6_port = htons(port);
}

std::vector<KernelAddress> numeric_addresses(const std::string& node) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  std::vector<KernelAddress> addresses;
  if (::getaddrinfo(node.c_str(), nullptr, &hints, &found) != 0) return addresses;
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next)
    addresses.push_back(kernel_address(info->ai_addr, info->ai_addrlen));
  ::freeaddrinfo(found);
  return addresses;
}

class Woken final : public Wakeable {
 public:
  void wake() override {}
};

// Asks as a session does: hosts file and DNS, both families.
Resolver::Answer resolve(const std::string& name) {
  Loop loop;
  Woken owner;
  Resolver resolver(loop.get());
  const auto request = resolver.addresses_of(name, owner);
  while (!request->answer()) uv_run(loop.get(), UV_RUN_ONCE);
  return *request->answer();
}

NameLookup look_up(const UpstreamHost& host) {
  const auto begin = Clock::now();
  const std::string& node = host.hostaddr.empty() ? host.host : host.hostaddr;
  NameLookup lookup{.addresses = numeric_addresses(node), .error = {}};
  lookup.is_numeric = !lookup.addresses.empty();
  if (!lookup.is_numeric) {
    Resolver::Answer answer = resolve(node);
    lookup.addresses = std::move(answer.addresses);
    lookup.error = std::move(answer.error);
  }
  lookup.duration = since(begin);
  for (KernelAddress& address : lookup.addresses) set_port(address, host.port);
  return lookup;
}

GreetingReply greet(TimedSocket& socket) {
  const auto begin = Clock::now();
  protocol::UpstreamGreeting greeting;
  protocol::Bytes request;
  greeting.begin(request);
  GreetingReply reply;
  if (auto error = socket.send(request)) {
    reply.error = *std::move(error);
    return reply;
  }
  const auto received = socket.receive(kRecordBytes);
  reply.duration = since(begin);
  if (!received) {
    reply.error = received.error();
  } else if (received->empty()) {
    reply.error = kServerClosed;
  } else {
    reply.answer = greeting.receive(*received);
    reply.byte = greeting.answer_byte();
    reply.is_http = protocol::as_text(*received).starts_with("HTTP/");
  }
  return reply;
}

// Sends what the survey has written. Returns the error, if any.
std::optional<std::string> flush(TimedSocket& socket, tls::Outgoing& out) {
  auto error = socket.send(out.written());
  out.clear();
  return error;
}

struct HandshakeFault {
  std::string error;
  HandshakeEnd end = HandshakeEnd::unknown;
};

// `total`: how many bytes the server has sent.
HandshakeFault fault_of(const tls::HandshakeSurvey& survey, std::size_t total) {
  const tls::FailureReport& failure = survey.failure();
  HandshakeFault fault{.error = failure.reason};
  if (survey.refusal() == tls::HandshakeSurvey::Refusal::of_the_offer)
    fault.end = HandshakeEnd::refused;
  else if (total == 0 && failure.failure != tls::Failure::unexpected_eof)
    fault.end = HandshakeEnd::not_offered;
  return fault;
}

// Returns the fault, if any. After an established handshake `rest` has what was received after it.
std::optional<HandshakeFault> run(tls::HandshakeSurvey& survey, TimedSocket& socket, protocol::Bytes& rest) {
  std::array<std::uint8_t, kRecordBytes> memory{};
  tls::Outgoing out(memory);
  protocol::Bytes received;
  std::size_t total = 0;
  tls::ByteView unread;
  for (;;) {
    const auto status = survey.handshake(unread, out);
    auto error = flush(socket, out);
    if (status == tls::EngineStatus::ready) {
      rest.assign(unread.begin(), unread.end());
      return std::nullopt;
    }
    if (survey.refusal() == tls::HandshakeSurvey::Refusal::of_no_certificate) return std::nullopt;
    if (status == tls::EngineStatus::failed) return fault_of(survey, total);
    if (error) return HandshakeFault{.error = *std::move(error)};
    if (status == tls::EngineStatus::want_room) continue;
    auto more = socket.receive(kRecordBytes);
    if (!more) return HandshakeFault{.error = more.error()};
    received = *std::move(more);
    unread = received;
    total += received.size();
    if (received.empty()) survey.end_of_input();
    if (total > tls::Engine::kMaxHandshakeBytes)
      return HandshakeFault{.error = "the TLS handshake is larger than 1 MiB"};
  }
}

// With TLS 1.3 session tickets come after the handshake, one directly after the other. `kRest` is longer than the time of a
// delayed acknowledgement, for which a server with Nagle's algorithm waits. `kAll` is the limit for all of them together.
void await_tickets(tls::HandshakeSurvey& survey, TimedSocket& socket, protocol::Bytes received,
                   StepDuration handshake) {
  using std::chrono::milliseconds;
  constexpr milliseconds kLeast{50}, kMost{500}, kRest{100}, kAll{1'000};
  const auto begin = Clock::now();
  socket.set_deadline(begin + std::clamp(std::chrono::ceil<milliseconds>(2 * handshake), kLeast, kMost));
  std::vector<std::uint8_t> room(kRecordBytes);
  for (std::size_t total = 0; total < tls::Engine::kMaxHandshakeBytes;) {
    tls::ByteView unread = received;
    tls::Outgoing out(room);
    if (survey.await_tickets(unread, out) != tls::EngineStatus::want_input) return;
    if (total > 0) socket.set_deadline(std::min(Clock::now() + kRest, begin + kAll));
    auto more = socket.receive(kRecordBytes);
    if (!more || more->empty()) return;
    received = *std::move(more);
    total += received.size();
  }
}

HandshakeResult shake_hands(TimedSocket& socket, const tls::HandshakeSurvey::Question& question,
                            bool awaits_tickets) {
  const auto begin = Clock::now();
  tls::HandshakeSurvey survey(question);
  HandshakeResult result;
  protocol::Bytes rest;
  auto fault = run(survey, socket, rest);
  result.duration = since(begin);
  result.cipher = survey.agreed_cipher();
  if (!result.cipher.empty())
    result.end = HandshakeEnd::agreed;
  else if (fault)
    result.end = fault->end;
  if (fault) {
    result.error = std::move(fault->error);
    return result;
  }
  const bool is_established = survey.refusal() == tls::HandshakeSurvey::Refusal::none;
  if (awaits_tickets && is_established) await_tickets(survey, socket, std::move(rest), result.duration);
  result.server = survey.result();
  return result;
}

std::string server_name_of(const UpstreamConfig& upstream) {
  return upstream.sslsni ? upstream.hosts.front().host : "";
}

}  // namespace

const ConnectionAttempt* ServerSurvey::connected() const {
  const auto found =
      std::ranges::find_if(attempts, [](const ConnectionAttempt& attempt) { return attempt.error.empty(); });
  return found == attempts.end() ? nullptr : &*found;
}

ServerSurvey survey_server(const UpstreamConfig& upstream, const protocol::Bytes& first_bytes) {
  ServerSurvey survey;
  survey.lookup = look_up(upstream.hosts.front());
  std::optional<TimedSocket> socket;
  for (const KernelAddress& address : survey.lookup.addresses) {
    const auto begin = Clock::now();
    // Once an address has answered, the others are not worth waiting for.
    const auto patience =
        socket ? std::min(patience_of(upstream), kPatienceForOthers) : patience_of(upstream);
    auto connected = TimedSocket::connect(address, begin + patience);
    survey.attempts.push_back(
        {.address = address, .error = connected ? "" : connected.error(), .duration = since(begin)});
    if (connected && !socket) socket = *std::move(connected);
  }
  if (!socket || upstream.sslmode == SslMode::disable) return survey;
  socket->set_deadline(Clock::now() + patience_of(upstream));
  if (auto error = socket->send(first_bytes)) return survey;
  if (upstream.sslnegotiation == SslNegotiation::postgres) {
    survey.greeting = greet(*socket);
    if (survey.greeting->answer != Answer::accepted) return survey;
  }
  survey.handshake = shake_hands(*socket, {.server_name = server_name_of(upstream)}, true);
  return survey;
}

HandshakeResult survey_handshake(const UpstreamConfig& upstream, const KernelAddress& address,
                                 const protocol::Bytes& first_bytes, tls::HandshakeSurvey::Question question,
                                 SslNegotiation negotiation) {
  const auto failed = [](std::string error) {
    return HandshakeResult{.server = std::nullopt, .error = std::move(error)};
  };
  auto socket = TimedSocket::connect(address, Clock::now() + patience_of(upstream));
  if (!socket) return failed(socket.error());
  if (auto error = socket->send(first_bytes)) return failed(*std::move(error));
  if (negotiation == SslNegotiation::postgres)
    if (const auto reply = greet(*socket); reply.answer != Answer::accepted)
      return failed(reply.error.empty() ? "SSLRequest was not accepted" : reply.error);
  question.server_name = server_name_of(upstream);
  return shake_hands(*socket, question, false);
}

}  // namespace pgveil::proxy
