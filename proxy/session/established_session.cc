#include "proxy/session/established_session.h"

#include <utility>

namespace pgveil::proxy {
namespace {

// The time between two checks of a client that has ended its side.
constexpr std::chrono::seconds kClientCheckInterval{1};

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
  context_.deadline.set(context_.limits().idle_timeout);
  needs_care_ = context_.limits().idle_timeout.count() > 0;
  const auto session_lifetime = context_.policy().config.limits.session_lifetime;
  if (session_lifetime.count() == 0) return;
  lifetime_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
  lifetime_->set(session_lifetime);
  needs_care_ = true;
}

void EstablishedSession::end_when_idle(Ending ending) {
  if (!end_when_idle_) end_when_idle_ = std::make_unique<const Ending>(std::move(ending));
  needs_care_ = true;
}

EstablishedSession::State EstablishedSession::advance() {
  const auto moved_before = needs_care_ ? moved() : 0;
  if (const auto end = relay_->advance(context_.scratch())) return state_of(*end);
  // Most sessions have none of these most of the time, and this function runs for each message.
  if (!needs_care_ && !relay_->in_bulk() && !relay_->client_ended()) return State::relaying;
  return take_care(moved_before);
}

// Does everything but forwarding bytes.
EstablishedSession::State EstablishedSession::take_care(std::uint64_t moved_before) {
  needs_care_ = true;
  if (context_.limits().idle_timeout.count() > 0) note_activity(moved_before);
  if (relay_->client_ended()) look_after_client();
  if (lifetime_ && lifetime_->passed()) end_when_idle({.reason = Reason::session_lifetime});
  if (end_when_idle_ && relay_->is_idle()) return State::ended_when_idle;
  if (relay_->in_bulk() || bulk_deadline_) look_after_bulk();
  return context_.deadline.passed() ? check_silence() : State::relaying;
}

// Updates the time of the last activity. Bytes that had to wait and were then written count as activity too:
// a peer that reads slowly is not idle.
void EstablishedSession::note_activity(std::uint64_t moved_before) {
  const std::size_t waiting = context_.client->unwritten() + server_->unwritten();
  if (moved() != moved_before || waiting != waiting_) last_activity_ = time_now();
  waiting_ = waiting;
}

// A client that has ended its side may still wait for its last answer, however long the statement runs. One that is gone
// is noticed by the reset that its kernel sends for a keepalive, or by the end of its Unix socket.
void EstablishedSession::look_after_client() {
  if (client_check_ && !client_check_->passed()) return;
  if (!client_check_) client_check_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
  context_.client->look_for_break();
  if (context_.client->write_broken()) context_.owner.wake();
  client_check_->set(kClientCheckInterval);
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

// Traffic does not reset the timer. When the timer expires, the time of the last byte is checked. That also holds
// after the client has ended its side: a client that is gone is noticed by its keepalives.
EstablishedSession::State EstablishedSession::check_silence() {
  const std::chrono::milliseconds idle_timeout = context_.limits().idle_timeout;
  const std::chrono::milliseconds quiet = time_now() - last_activity_;
  if (quiet >= idle_timeout) return State::idle;
  context_.deadline.set(idle_timeout - quiet);
  return State::relaying;
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
    case State::ended_when_idle: return *end_when_idle_;
    case State::idle: return {.reason = Reason::idle_timeout};
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

SessionActivity EstablishedSession::activity() const {
  if (!relay_) return {};  // as in report()
  const SessionState state = relay_->is_idle()            ? SessionState::idle
                             : relay_->waits_for_client() ? SessionState::in_transaction
                                                          : SessionState::active;
  return {.state = state, .traffic = relay_->traffic()};
}

void EstablishedSession::report(SessionObserver& observer) const {
  if (!relay_) return;  // end() has called release_server(), and then ran out of memory
  observer.note_relayed(relay_->traffic());
  if (relay_->server_gave_up()) observer.note_server_sqlstate(relay_->server_sqlstate());
}

std::unique_ptr<Stream> EstablishedSession::release_server() {
  relay_->end_bulk();
  relay_.reset();
  return std::move(server_);
}

}  // namespace pgveil::proxy
