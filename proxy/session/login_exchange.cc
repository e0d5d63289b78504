#include "proxy/session/login_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/sqlstate.h"
#include "proxy/session/login_limits.h"
#include "proxy/session/session_bytes.h"
#include "proxy/session/side_end.h"
#include "proxy/upstream/upstream_failure.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxLoginBacklog = 1'048'576;
constexpr const char* kNoAnswer = "the server closed the connection instead of answering the StartupMessage";

// The first message of a server in a login. NegotiateProtocolVersion is skipped, because the message that matters
// follows it.
struct FirstMessage {
  bool is_whole = false;
  bool is_unavailable = false;  // it accepts no connections for now; libpq then tries the next host
  std::string text = {};
};

FirstMessage read_first_message(protocol::ByteView bytes) {
  protocol::ByteReader in(bytes);
  for (;;) {
    const auto decoded = protocol::decode_message(in, kMaxLoginBacklog);
    if (!decoded) return {.is_whole = true};
    if (!decoded->has_value()) return {};
    const protocol::Message& message = **decoded;
    if (message.type == protocol::kNegotiateProtocolVersion) continue;
    if (message.type != protocol::kErrorResponse) return {.is_whole = true};
    const auto fields = protocol::decode_error_fields(message.body);
    if (!fields || fields->sqlstate != protocol::sqlstate::kCannotConnectNow) return {.is_whole = true};
    return {.is_whole = true,
            .is_unavailable = true,
            .text = "the server takes no connections now, with SQLSTATE 57P03: " + fields->message};
  }
}

}  // namespace

// Wipes the scratch memory at the end of its scope.
class LoginExchange::ScratchWipe {
 public:
  ScratchWipe(LoginExchange& login, std::size_t size) : login_(login), size_(size) {}
  ~ScratchWipe() { login_.wipe_scratch(size_); }
  ScratchWipe(const ScratchWipe&) = delete;
  ScratchWipe& operator=(const ScratchWipe&) = delete;

 private:
  LoginExchange& login_;
  const std::size_t size_;
};

LoginExchange::~LoginExchange() {
  wipe_away(unread_of_server_);
}

LoginExchange::State LoginExchange::advance() {
  return login_ ? log_in() : connect();
}

// Passes bytes between the client, the login and the server.
LoginExchange::State LoginExchange::log_in() {
  if (const auto change = check_deadlines()) return *change;
  for (int reads = 0;; ++reads) {
    if (const auto change = check_first_message()) return *change;
    if (const auto change = take_from_server()) return *change;
    if (const auto change = take_from_client()) return *change;

    if (!may_read(*server_, reads)) return State::logging_in;
    const auto read = server_->read(context_.scratch(), context_.scratch().incoming.size());
    if (read.status == Stream::Status::blocked) return State::logging_in;
    if (read.status != Stream::Status::bytes) return lose_server();
    server_has_spoken_ = true;
    answer_deadline_.reset();
    unread_of_server_.insert(unread_of_server_.end(), read.bytes.begin(), read.bytes.end());
  }
}

LoginExchange::Change LoginExchange::check_deadlines() {
  if (context_.deadline.passed()) {
    auto refused = refused_ending();  // the server refused the login, and neither side has closed yet
    return fail(refused ? *std::move(refused) : timeout_ending());
  }
  if (!answer_deadline_ || !answer_deadline_->passed()) return std::nullopt;
  answer_deadline_.reset();
  if (!may_begin_anew()) return std::nullopt;
  return try_elsewhere(Connector::Failed::timed_out, "the server did not answer the StartupMessage in time",
                       false);
}

// Decides by the server's first message whether the login continues with this server.
LoginExchange::Change LoginExchange::check_first_message() {
  if (server_was_heard_) return std::nullopt;
  const FirstMessage message = read_first_message(unread_of_server_);
  server_was_heard_ = message.is_whole && !(message.is_unavailable && may_begin_anew());
  if (!message.is_unavailable || server_was_heard_) return std::nullopt;
  const Change change = try_elsewhere(Connector::Failed::refused, message.text, true);
  if (!change) server_was_heard_ = true;
  return change;
}

// Passes the server's bytes to the login, even if no new ones have arrived: the login may have waited for
// another event.
LoginExchange::Change LoginExchange::take_from_server() {
  if (server_was_heard_) switch (advance_login()) {
      case Login::Progress::finished:
        context_.observer.note_server_method(login_->server_method());
        return State::logged_in;
      case Login::Progress::failed:
        if (login_->refusal()) context_.observer.note_server_sqlstate(login_->refusal()->sqlstate);
        return fail(login_->ending());
      case Login::Progress::waiting: break;
    }
  if (context_.client->unwritten() + unread_of_server_.size() > kMaxLoginBacklog)
    return fail({.reason = Reason::upstream_protocol_violation,
                 .detail = "The server sent more during the login than the client would read."});
  return std::nullopt;
}

LoginExchange::Change LoginExchange::take_from_client() {
  std::optional<Ending> ending;
  switch (login_->client_part()) {
    case Login::ClientPart::relayed: ending = forward_client(); break;
    case Login::ClientPart::answered: ending = answer_client(); break;
    case Login::ClientPart::silent:
      if (context_.client->write_broken()) ending = lost_client_ending(*context_.client);
      break;
  }
  return ending ? Change(fail(*std::move(ending))) : std::nullopt;
}

// Handles a server that has closed its side, or whose connection broke.
LoginExchange::State LoginExchange::lose_server() {
  if (may_begin_anew() && !server_has_spoken_)
    if (const auto change = try_elsewhere(Connector::Failed::refused, kNoAnswer, false)) return *change;
  return fail(lost_server_ending());
}

// Passes the bytes that the server has sent so far to the login.
Login::Progress LoginExchange::advance_login() {
  protocol::ByteReader in(unread_of_server_);
  LoginAnswers answers;
  const bool was_refused = login_->refusal().has_value();
  const auto progress = login_->advance(in, answers);
  consume(unread_of_server_, in);
  // Before the client knows it, and can try again.
  if (!was_refused && login_->refusal()) note_refusal(login_->refusal()->sqlstate);
  // The route must exist before the client has its key, since the CancelRequest may arrive at another worker.
  if (progress == Login::Progress::finished && login_->cancel_key())
    context_.registration.add_cancel_route(*login_->cancel_key(),
                                           {.upstream = upstream_, .server = *link_->server()});
  send(answers);
  return progress;
}

// If pgveil logs in on behalf of the client, a refusal is not the client's fault.
void LoginExchange::note_refusal(std::string_view sqlstate) {
  if (!logs_in_for_client(method_) && sqlstate.starts_with(protocol::sqlstate::kInvalidAuthorizationClass))
    note_failed_login(context_);
}

void LoginExchange::send(LoginAnswers& answers) {
  if (!answers.to_client.empty()) context_.client->write(context_.scratch(), answers.to_client);
  if (answers.to_server.empty()) return;
  server_->write(context_.scratch(), answers.to_server);
  wipe_away(answers.to_server);
}

// Reads the client's answers to pgveil's own requests, and wipes them from the scratch memory. Pauses the client once
// pgveil has no further request. A client that ended its side before it answered has left.
std::optional<Ending> LoginExchange::answer_client() {
  Stream& client = *context_.client;
  client.resume_reading();
  for (int reads = 0;; ++reads) {
    protocol::ByteReader in(client_.unread);
    LoginAnswers answers;
    const bool taken = login_->take_client(in, answers);
    tls::wipe(std::span(client_.unread).first(client_.unread.size() - in.remaining()));
    consume(client_.unread, in);
    send(answers);
    if (!taken) return login_->ending();
    if (login_->client_part() != Login::ClientPart::answered) {
      client.pause_reading();
      context_.owner.wake();  // a request of the server may have waited for the client's answer
      return std::nullopt;
    }
    if (!may_read(client, reads)) return std::nullopt;
    const auto read = client.read(context_.scratch(), kStartupReadBytes);
    if (read.status == Stream::Status::blocked) return std::nullopt;
    if (read.status == Stream::Status::ended) return left_client_ending();
    if (read.status == Stream::Status::failed) return broken_client_ending();
    keep(read.bytes);
  }
}

// Stores bytes of the client, and wipes them from the scratch memory, also if there is no memory to store them.
void LoginExchange::keep(ByteView from_client) {
  const ScratchWipe wipe(*this, from_client.size());
  context_.observer.note_received(from_client.size());
  client_.unread.insert(client_.unread.end(), from_client.begin(), from_client.end());
}

// Wipes bytes of the client from the scratch memory: during its login they may be a password.
void LoginExchange::wipe_scratch(std::size_t size) {
  Scratch& scratch = context_.scratch();
  const auto wipe = [size](auto& bytes) { tls::wipe(std::span(bytes).first(std::min(size, bytes.size()))); };
  wipe(scratch.incoming);
  if (client_.tls) wipe(scratch.plaintext);
}

// Passes on the client's bytes during its login, and also its end of the connection. PostgreSQL answers the
// bytes that came before the end, and then closes the session at once.
std::optional<Ending> LoginExchange::forward_client() {
  if (login_->holds_client()) {
    auto ending = hold_client();
    if (ending || login_->holds_client()) return ending;
  }
  const auto before = relay_->bytes_to_server();
  const auto status = relay_->advance_to_server(context_.scratch());
  wipe_scratch(relay_->bytes_to_server() - before);
  if (status == Stream::Status::failed) return broken_client_ending();
  return std::nullopt;
}

// Collects the client's answer until the login can check it, and passes it on if the login allows that.
std::optional<Ending> LoginExchange::hold_client() {
  for (int reads = 0; may_read(*context_.client, reads); ++reads) {
    const auto read = context_.client->read(context_.scratch(), kStartupReadBytes);
    if (read.status == Stream::Status::blocked) return std::nullopt;
    if (read.status == Stream::Status::ended) return left_client_ending();
    if (read.status == Stream::Status::failed) return broken_client_ending();
    keep(read.bytes);
    const auto check = login_->check_client(client_.unread);
    if (check == Login::ClientCheck::failed) return login_->ending();
    if (check == Login::ClientCheck::waiting) continue;
    pass_on_unread();
    return std::nullopt;
  }
  return std::nullopt;
}

void LoginExchange::pass_on_unread() {
  if (client_.unread.empty()) return;
  server_->write(context_.scratch(), client_.unread);
  relay_->follow_to_server(client_.unread);
  wipe_away(client_.unread);
}

LoggedInSession LoginExchange::take_session() {
  if (!unread_of_server_.empty()) {
    context_.client->write(context_.scratch(), unread_of_server_);
    relay_->follow_to_client(unread_of_server_);
  }
  if (login_->client_part() != Login::ClientPart::relayed) {
    pass_on_unread();  // bytes that the client sent before ReadyForQuery belong to the session
    context_.client->resume_reading();
  }
  if (kept_) keep_server();
  return {.server = std::move(server_), .relay = std::move(relay_), .kept = std::move(kept_)};
}

// Completes what is kept of the login. This is done only now, because the hash takes longer for a user who exists.
void LoginExchange::keep_server() {
  if (method_ == protocol::HbaMethod::scram_sha_256)
    kept_->secret = context_.policy().users.fingerprint(kept_->database_user);
  if (!link_->tls()) return;
  kept_->server_chain = link_->tls()->peer_chain;
  kept_->server_host = link_->server()->host.host;
}

void LoginExchange::report(SessionObserver& observer) const {
  if (relay_) observer.note_relayed(relay_->traffic());
}

std::unique_ptr<Stream> LoginExchange::release_server() {
  relay_.reset();
  if (link_) link_->close(context_.scratch());
  link_.reset();
  return std::move(server_);
}

LoginExchange::State LoginExchange::fail(Ending ending) {
  ending_ = std::move(ending);
  return State::failed;
}

// Returns the ending for a client that closed before ReadyForQuery, to ask its user for a password, or
// because the login was refused.
Ending LoginExchange::left_client_ending() {
  if (auto refused = refused_ending()) return *std::move(refused);
  return closed_by_client_in_login({.in_message = relay_->in_message_to_server() || !client_.unread.empty(),
                                    .close_notify = context_.client->close_notify()});
}

// Returns the ending for a client whose connection broke before ReadyForQuery. After a refusal, a client may close
// without reading everything, so a refusal comes first.
Ending LoginExchange::broken_client_ending() {
  return refused_ending().value_or(lost_client_ending(*context_.client));
}

// Returns the ending for a login that the server refused with an error that the client has received; nullopt:
// the server has not refused it.
std::optional<Ending> LoginExchange::refused_ending() {
  if (!login_->refusal()) return std::nullopt;
  context_.observer.note_server_sqlstate(login_->refusal()->sqlstate);
  return Ending{.reason = Reason::login_failed,
                .detail = "The server refused the login: " + words_of(*login_->refusal()) + '.'};
}

Ending LoginExchange::timeout_ending() const {
  if (!server_has_spoken_) return link_->timed_out("answer the StartupMessage");
  return {.reason = Reason::login_timeout,
          .detail = "The login was not complete within limits.startup_timeout.",
          .hint = "Answer the server's password request in time, or raise limits.startup_timeout."};
}

// Returns the ending for a server that closed before its ReadyForQuery. One that has sent nothing after the
// StartupMessage accepts no connections now: a load balancer without servers does the same.
Ending LoginExchange::lost_server_ending() {
  if (auto refused = refused_ending()) return *std::move(refused);
  if (const auto* failure = server_->tls_failure()) {
    context_.observer.note_failed_server_handshake(*failure);
    return tls_ending(*link_->server(), *failure);
  }
  const std::string error = server_->error();
  const bool is_cut = error.empty() && server_->close_notify() == Stream::CloseNotify::missing;
  // A client that has ended its side may still read. The server closes in the regular way if nothing more comes from the client.
  if (relay_->client_ended() && server_has_spoken_ && unread_of_server_.empty() && !is_cut && error.empty())
    return left_client_ending();
  if (may_begin_anew() && !server_has_spoken_)
    return link_->hung_up(kNoAnswer + (error.empty() ? std::string(is_cut ? ", without close_notify" : "")
                                                     : " (" + error + ")"));
  return {.reason = Reason::upstream_lost,
          .detail = fmt::format("The server closed the connection during the login{}{}.",
                                unread_of_server_.empty() ? "" : ", inside a message",
                                is_cut          ? ", without close_notify"
                                : error.empty() ? ""
                                                : ": " + error),
          .hint = "Look into the server's log."};
}

}  // namespace pgveil::proxy
