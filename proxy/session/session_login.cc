// Phase::log_in of a session: moves the bytes between client, login and server until ReadyForQuery.
#include <algorithm>
#include <utility>

#include "protocol/sqlstate.h"
#include "proxy/session/session.h"
#include "proxy/session/session_bytes.h"
#include "proxy/upstream/upstream_failure.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxLoginBacklog = 1'048'576;

// What a server says first in a login. NegotiateProtocolVersion does not count: what it is about comes after
// it.
struct FirstWord {
  bool is_whole = false;
  bool is_unavailable = false;  // it takes no connections for now, in which case libpq tries the next host
  std::string text = {};
};

FirstWord read_first_word(protocol::ByteView bytes) {
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

// Sends the StartupMessage as we understood it, never the client's bytes.
Session::Phase Session::begin_login() {
  record_->server_tls = link_->tls();
  server_ = link_->take_stream();
  if (policy().config.shared_certificate && record_->client_tls && record_->server_tls &&
      record_->server_tls->peer->sha256_fingerprint != record_->client_tls->own_sha256_fingerprint)
    return end({.reason = Reason::upstream_certificate_not_shared,
                .detail = "The listener shows the certificate with fingerprint " +
                          record_->client_tls->own_sha256_fingerprint + ", the server the one with " +
                          record_->server_tls->peer->sha256_fingerprint + ".",
                .hint = "Give both the very same certificate file, or turn shared_certificate off."});
  record_->earlier_attempts = link_->report();
  login_ = choose_login({.listener = policy(),
                         .upstream = *policy().upstream,
                         .host = link_->server()->host,
                         .method = method_,
                         .user = std::string(startup_.user()),
                         .database = std::string(startup_.database()),
                         .client_tls = record_->client_tls,
                         .server_tls = record_->server_tls},
                        host_.login_services(), *this);
  relay_ = std::make_unique<Relay>(*client_, *server_, limits().relay_buffer);
  protocol::Bytes startup;
  protocol::encode_startup_message(startup_, startup);
  server_->write(host_.scratch(), startup);
  if (const auto patience = this->patience(); patience.count() > 0) {
    answer_deadline_ = std::make_unique<Deadline>(host_.loop(), *this);
    answer_deadline_->set(patience);
  }
  if (login_->client_part() == Login::ClientPart::relayed) {
    client_was_early_ = !client_in_.empty();
    if (client_was_early_) server_->write(host_.scratch(), client_in_);
    relay_->follow_to_server(client_in_);
    wipe_away(client_in_);
    client_->resume_reading();
  }
  return Phase::log_in;
}

Session::Phase Session::log_in() {
  if (deadline_.passed()) {
    auto refused = refused_login_ending();  // and then neither side has closed
    return end(refused ? *std::move(refused) : timeout_ending());
  }
  if (answer_deadline_ && answer_deadline_->passed()) {
    answer_deadline_.reset();
    if (may_begin_anew())
      if (const auto next = try_elsewhere(Connector::Failed::timed_out,
                                          "the server did not answer the StartupMessage in time", false))
        return *next;
  }
  for (int reads = 0;; ++reads) {
    if (!server_was_heard_) {
      const FirstWord word = read_first_word(server_in_);
      server_was_heard_ = word.is_whole && !(word.is_unavailable && may_begin_anew());
      if (word.is_unavailable && !server_was_heard_) {
        if (const auto next = try_elsewhere(Connector::Failed::refused, word.text, true)) return *next;
        server_was_heard_ = true;
      }
    }
    // Also without new bytes: the login may have waited for something else.
    const auto progress = server_was_heard_ ? advance_login() : Login::Progress::waiting;
    if (progress == Login::Progress::failed) {
      note_refusal();
      return end(login_->ending());
    }
    if (progress == Login::Progress::finished) return begin_relay();
    if (client_->unwritten() + server_in_.size() > kMaxLoginBacklog)
      return end({.reason = Reason::upstream_protocol_violation,
                  .detail = "The server sent more during the login than the client would read."});
    if (auto ending = take_login_of_client()) return end(*ending);

    if (!may_read(*server_, reads)) return Phase::log_in;
    const auto read = server_->read(host_.scratch(), host_.scratch().incoming.size());
    if (read.status == Stream::Status::blocked) return Phase::log_in;
    if (read.status != Stream::Status::bytes) {
      if (may_begin_anew() && !server_has_spoken_)
        if (const auto next = try_elsewhere(Connector::Failed::refused,
                                            "the server closed the connection instead of answering the "
                                            "StartupMessage",
                                            false))
          return *next;
      return end(lost_login_ending());
    }
    server_has_spoken_ = true;
    answer_deadline_.reset();
    server_in_.insert(server_in_.end(), read.bytes.begin(), read.bytes.end());
  }
}

// Lets the login take what the server has said so far.
Login::Progress Session::advance_login() {
  protocol::ByteReader in(server_in_);
  LoginAnswers answers;
  const auto progress = login_->advance(in, answers);
  consume(server_in_, in);
  // Before the client can know its key, since its CancelRequest may come to another worker.
  if (progress == Login::Progress::finished) add_cancel_route();
  send(answers);
  return progress;
}

void Session::send(LoginAnswers& answers) {
  if (!answers.to_client.empty()) client_->write(host_.scratch(), answers.to_client);
  if (answers.to_server.empty()) return;
  server_->write(host_.scratch(), answers.to_server);
  wipe_away(answers.to_server);
}

std::optional<Ending> Session::take_login_of_client() {
  switch (login_->client_part()) {
    case Login::ClientPart::relayed: return forward_login_of_client();
    case Login::ClientPart::answered: return answer_login_of_client();
    case Login::ClientPart::silent: break;
  }
  return client_->write_broken() ? std::optional(lost_client_ending()) : std::nullopt;
}

// Reads the client's answers to what pgveil asks it, and wipes them from the scratch memory. Once there is no
// more to ask it is paused again. A client that has ended its side before it has answered can only have left.
std::optional<Ending> Session::answer_login_of_client() {
  client_->resume_reading();
  for (int reads = 0;; ++reads) {
    protocol::ByteReader in(client_in_);
    LoginAnswers answers;
    const bool taken = login_->take_client(in, answers);
    const auto used = client_in_.size() - in.remaining();
    tls::wipe(std::span(client_in_).first(used));
    consume(client_in_, in);
    send(answers);
    if (!taken) return login_->ending();
    if (login_->client_part() != Login::ClientPart::answered) {
      client_->pause_reading();
      wake();  // the server's request has waited for this
      return std::nullopt;
    }
    if (!may_read(*client_, reads)) return std::nullopt;
    const auto read = client_->read(host_.scratch(), kStartupReadBytes);
    if (read.status == Stream::Status::blocked) return std::nullopt;
    if (read.status == Stream::Status::ended) return left_login_ending();
    if (read.status == Stream::Status::failed) return broken_login_ending();
    record_->received_bytes += read.bytes.size();
    client_in_.insert(client_in_.end(), read.bytes.begin(), read.bytes.end());
    wipe_scratch(read.bytes.size());
  }
}

// What a client says in its login may be a password.
void Session::wipe_scratch(std::size_t size) {
  Scratch& scratch = host_.scratch();
  const auto wipe = [size](auto& bytes) { tls::wipe(std::span(bytes).first(std::min(size, bytes.size()))); };
  wipe(scratch.incoming);
  if (record_->client_tls) wipe(scratch.plaintext);
}

// Passes on what the client says in its login, and its end: PostgreSQL answers what came before, and it is
// for the server to end the session of a client that has left, as it does at once.
std::optional<Ending> Session::forward_login_of_client() {
  if (login_->holds_client()) {
    auto ending = hold_login_of_client();
    if (ending || login_->holds_client()) return ending;
  }
  const auto before = relay_->bytes_to_server();
  const auto status = relay_->advance_to_server(host_.scratch());
  wipe_scratch(relay_->bytes_to_server() - before);
  if (status == Stream::Status::failed) return broken_login_ending();
  return std::nullopt;
}

// Collects the client's answer until the login has judged it, and passes it on if it may.
std::optional<Ending> Session::hold_login_of_client() {
  for (int reads = 0; may_read(*client_, reads); ++reads) {
    const auto read = client_->read(host_.scratch(), kStartupReadBytes);
    if (read.status == Stream::Status::blocked) return std::nullopt;
    if (read.status == Stream::Status::ended) return left_login_ending();
    if (read.status == Stream::Status::failed) return broken_login_ending();
    record_->received_bytes += read.bytes.size();
    client_in_.insert(client_in_.end(), read.bytes.begin(), read.bytes.end());
    const auto judgement = login_->judge_client(client_in_);
    if (judgement == Login::Judgement::failed) return login_->ending();
    if (judgement == Login::Judgement::waiting) continue;
    server_->write(host_.scratch(), client_in_);
    relay_->follow_to_server(client_in_);
    wipe_away(client_in_);
    return std::nullopt;
  }
  return std::nullopt;
}

// The client's end came before ReadyForQuery: to ask its user for a password, or because it was refused.
Ending Session::left_login_ending() {
  if (auto refused = refused_login_ending()) return *std::move(refused);
  return closed_by_client_in_login({.in_message = relay_->in_message_to_server() || !client_in_.empty(),
                                    .close_notify = client_->close_notify()});
}

// The client's connection broke before ReadyForQuery. A client that was refused may close without reading
// all.
Ending Session::broken_login_ending() {
  return refused_login_ending().value_or(lost_client_ending());
}

void Session::note_refusal() {
  if (login_->refusal()) record_->server_sqlstate = login_->refusal()->sqlstate;
}

// The server has refused the login, in words that the client has got.
std::optional<Ending> Session::refused_login_ending() {
  if (!login_->refusal()) return std::nullopt;
  note_refusal();
  return Ending{.reason = Reason::login_failed,
                .detail = "The server refused the login: " + words_of(*login_->refusal()) + '.'};
}

// The server's end came before its ReadyForQuery.
Ending Session::lost_login_ending() {
  if (auto refused = refused_login_ending()) return *std::move(refused);
  if (const auto* failure = server_->tls_failure()) return tls_ending(*link_->server(), *failure);
  if (relay_->client_ended()) return left_login_ending();
  const std::string error = server_->error();
  const bool is_cut = error.empty() && server_->close_notify() == Stream::CloseNotify::missing;
  return {.reason = Reason::upstream_lost,
          .detail = "The server closed the connection during the login" +
                    std::string(server_in_.empty() ? "" : ", inside a message") +
                    (is_cut          ? ", without close_notify"
                     : error.empty() ? ""
                                     : ": " + error) +
                    '.',
          .hint = "Look into the server's log."};
}

}  // namespace pgveil::proxy
