#include "proxy/doctor/login_survey.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "protocol/frontend.h"
#include "proxy/base/timed_socket.h"
#include "proxy/diagnostics/reason.h"
#include "proxy/doctor/lone_link.h"

namespace pgveil::proxy {
namespace {

using Clock = TimedSocket::Clock;

constexpr std::size_t kReadBytes = 16'384;
constexpr std::size_t kMaxAnswer = std::size_t{256} * 1024;

LoginReply failed(std::string error) {
  LoginReply reply;
  reply.error = std::move(error);
  return reply;
}

// Calls `receive` until the answer is there.
template <class Receive>
LoginReply await_reply(const Receive& receive) {
  protocol::Bytes received;
  while (received.size() < kMaxAnswer) {
    const tl::expected<protocol::Bytes, std::string> bytes = receive();
    if (!bytes) return failed(bytes.error());
    if (bytes->empty()) return failed(kServerClosed);
    received.insert(received.end(), bytes->begin(), bytes->end());
    if (auto reply = read_login_reply(received)) return *std::move(reply);
  }
  return failed(kAnswerTooLarge);
}

// "The server at 10.0.0.1:5432 has no TLS."
std::string sentence_of(const Ending& ending) {
  return ending.detail.empty() ? fmt::format("The connection failed: {}.", describe(ending.reason).message)
                               : ending.detail;
}

LoginReply timed(LoginReply reply, Clock::time_point begin) {
  reply.duration = since(begin);
  return reply;
}

protocol::Bytes terminate_message() {
  protocol::Bytes bytes;
  protocol::encode_terminate(bytes);
  return bytes;
}

}  // namespace

protocol::Bytes startup_message_of(const LoginRequest& login, protocol::ProtocolVersion version) {
  protocol::StartupMessage startup{.version = version, .parameters = {}};
  if (!login.user.empty()) startup.parameters.emplace_back("user", login.user);
  if (!login.database.empty()) startup.parameters.emplace_back("database", login.database);
  protocol::Bytes bytes;
  protocol::encode_startup_message(startup, bytes);
  return bytes;
}

LoginReply ask_verified(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
                        const LoginRequest& login, protocol::ProtocolVersion version,
                        std::chrono::milliseconds time) {
  LoneLink link(upstream, first_bytes, time);
  if (const auto failure = link.connect()) return failed(sentence_of(*failure));
  const auto begin = Clock::now();
  link.send(startup_message_of(login, version));
  LoginReply reply = timed(await_reply([&] { return link.receive(begin + time); }), begin);
  reply.certificate_was_sent = link.tls() && !link.tls()->own_sha256_fingerprint.empty();
  reply.end_point_bytes = link.tls() ? link.tls()->peer_end_point.size() : 0;
  if (reply.asked == protocol::AuthenticationCode::ok) link.send(terminate_message());
  link.close();
  return reply;
}

LoginReply ask_in_plaintext(const KernelAddress& address, const protocol::Bytes& first_bytes,
                            const LoginRequest& login, std::chrono::milliseconds time) {
  const auto begin = Clock::now();
  auto socket = TimedSocket::connect(address, begin + time);
  if (!socket) return failed(socket.error());
  for (const auto& bytes : {first_bytes, startup_message_of(login, protocol::kProtocol30)})
    if (auto error = socket->send(bytes)) return failed(*std::move(error));
  LoginReply reply = timed(await_reply([&] { return socket->receive(kReadBytes); }), begin);
  if (reply.asked == protocol::AuthenticationCode::ok)
    static_cast<void>(socket->send(terminate_message()));  // the connection is closed anyhow
  return reply;
}

}  // namespace pgveil::proxy
