#include "proxy/session/established_session.h"

#include <algorithm>
#include <utility>

namespace pgveil::proxy {
namespace {

// How long a session waits for a server that sends nothing after the client has ended its side. The client's last
// statement may still run.
constexpr std::chrono::seconds kLastAnswerTimeout{30};

// Returns the interval at which a session is checked after its client has ended its side. Whether kLastAnswerTimeout
// or `idle_timeout` applies depends on the bytes that wait for the client at the time of the check.
std::chrono::milliseconds last_answer_interval(std::chrono::milliseconds idle_timeout) {
  constexpr std::chrono::milliseconds kLongest = kLastAnswerTimeout;
  return idle_timeout.count() == 0 ? kLongest : std::min(idle_timeout, kLongest);
}

EstablishedSession::State state_of(Relay::End end) {
  using State = EstablishedSession::State;
  switch (end) {
    case Relay::End::client_closed: return State::client_closed;
    case Relay::End::client_lost: return State::client_lost;
    case Relay::End::server_closed: return State::server_closed;
    case Relay::End::server_lost: return State::server_lost;
  }
  return State::server_lost;
}

}  // namespace

EstablishedSession::EstablishedSession(SessionContext& context, LoggedInSession session)
    : context_(context),
      server_(std::move(session.server)),
      relay_(std::move(session.relay)),
      kept_login_(std::move(session.kept)) {
  if (Ring* ring = context_.services.ring) {
    context_.client->move_to(*ring);
    server_->move_to(*ring);
  }
  last_activity_ = time_now();
  set_idle_deadline();
}

EstablishedSession::State EstablishedSession::advance() {
  const auto moved_before = moved();
  const bool client_ended_before = relay_->client_ended();
  if (const auto end = relay_->advance(context_.scratch())) return state_of(*end);
  if (context_.limits().idle_timeout.count() > 0 || relay_->client_ended()) note_activity(moved_before);
  if (relay_->client_ended() != client_ended_before) {
    last_activity_ = time_now();
    set_idle_deadline();
  }
  if (ends_when_idle_ && relay_->is_idle()) return State::drained;
  if (relay_->in_bulk() || bulk_deadline_) look_after_bulk();
  return context_.deadline.passed() ? check_silence() : State::relaying;
}

void EstablishedSession::end_when_idle(Ending ending) {
  kept_login_->ending = std::move(ending);
  ends_when_idle_ = true;
}

void EstablishedSession::set_idle_deadline() {
  const auto idle_timeout = context_.limits().idle_timeout;
  context_.deadline.set(relay_->client_ended() ? last_answer_interval(idle_timeout) : idle_timeout);
}

// Updates the time of the last activity. Bytes that had to wait and were then written count as activity too:
// a peer that reads slowly is not idle.
void EstablishedSession::note_activity(std::uint64_t moved_before) {
  const std::size_t waiting = context_.client->unwritten() + server_->unwritten();
  if (moved() != moved_before || waiting != waiting_) last_activity_ = time_now();
  waiting_ = waiting;
}

void EstablishedSession::look_after_bulk() {
  if (bulk_deadline_ && bulk_deadline_->passed()) relay_->look_after_bulk();
  if (!relay_->in_bulk()) {
    bulk_deadline_.reset();
  } else if (!bulk_deadline_ || bulk_deadline_->passed()) {
    if (!bulk_deadline_) bulk_deadline_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
    bulk_deadline_->set(Relay::kBulkPatience);
  }
}

// Traffic does not reset the timer. When the timer expires, the time of the last byte is checked. After the
// client has ended its side, kLastAnswerTimeout applies while the session waits for the server. If bytes wait
// because the client does not read them, idle_timeout applies, as for any other client.
EstablishedSession::State EstablishedSession::check_silence() {
  const std::chrono::milliseconds idle_timeout = context_.limits().idle_timeout;
  const std::chrono::milliseconds quiet = time_now() - last_activity_;
  const bool awaits_last_answer = relay_->client_ended() && context_.client->unwritten() == 0;
  const std::chrono::milliseconds allowed = awaits_last_answer ? kLastAnswerTimeout : idle_timeout;
  if (allowed.count() == 0 || quiet < allowed) {
    const std::chrono::milliseconds most =
        relay_->client_ended() ? last_answer_interval(idle_timeout) : idle_timeout;
    context_.deadline.set(allowed.count() == 0 ? most : std::min(allowed - quiet, most));
    return State::relaying;
  }
  return awaits_last_answer ? State::unanswered : State::idle;
}

Ending EstablishedSession::ending(State state) const {
  switch (state) {
    case State::relaying:
    case State::client_closed: return closed_by_client(client_end());
    case State::client_lost: return lost_client_ending(*context_.client);
    case State::server_closed: return closed_by_server(server_end());
    case State::server_lost:
      if (is_reset_after_error()) return closed_by_server(server_end());
      break;
    case State::drained:
      if (kept_login_ && kept_login_->ending) return *kept_login_->ending;
      return {.reason = Reason::shutting_down};
    case State::idle: return {.reason = Reason::idle_timeout};
    case State::unanswered: return unanswered_ending();
  }
  return internal_failure(*server_, "server")
      .value_or(Ending{.reason = Reason::upstream_lost, .detail = server_->error()});
}

// Returns whether a server without TLS has sent its last error before the connection broke. The kernel resets the connection of
// a server that closes and has not read all bytes of its client, for example of a COPY. With TLS, close_notify
// announces the end before the reset.
bool EstablishedSession::is_reset_after_error() const {
  const SideEnd end = server_end();
  return end.was_announced && !end.in_message && end.close_notify == Stream::CloseNotify::without_tls;
}

Ending EstablishedSession::unanswered_ending() const {
  Ending ending = closed_by_client(client_end());
  if (!ending.detail.empty()) ending.detail += ' ';
  ending.detail += "The server has not answered for 30 seconds since.";
  return ending;
}

SideEnd EstablishedSession::client_end() const {
  return {.in_message = relay_->in_message_to_server(),
          .was_announced = relay_->client_terminated(),
          .close_notify = context_.client->close_notify()};
}

SideEnd EstablishedSession::server_end() const {
  return {.in_message = relay_->in_message_to_client(),
          .was_announced = relay_->server_gave_up(),
          .close_notify = server_->close_notify()};
}

ErrorFormat EstablishedSession::error_format() const {
  return relay_->at_client_boundary() && !relay_->server_gave_up() ? ErrorFormat::protocol_3
                                                                   : ErrorFormat::none;
}

void EstablishedSession::report(SessionObserver& observer) const {
  if (!relay_) return;  // end() has called release_server(), and then ran out of memory
  observer.note_relayed({.sent = relay_->bytes_to_client(), .received = relay_->bytes_to_server()});
  if (relay_->server_gave_up()) observer.note_server_sqlstate(relay_->server_sqlstate());
}

std::unique_ptr<Stream> EstablishedSession::release_server() {
  relay_->end_bulk();
  relay_.reset();
  return std::move(server_);
}

}  // namespace pgveil::proxy
