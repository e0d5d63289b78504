#include "proxy/session/session.h"

#include <fmt/format.h>

#include <chrono>
#include <new>
#include <utility>

#include "proxy/base/unix_peer.h"
#include "proxy/diagnostics/log.h"
#include "proxy/session/last_message.h"
#include "proxy/session/login_limits.h"

namespace pgveil::proxy {
namespace {

// Returns the user of the client's process on a Unix socket, if a rule or log_client_identity needs it.
std::string wanted_unix_user(const ListenerPolicy& policy, const KernelAddress& address, int descriptor) {
  const bool is_wanted = policy.rules.asks_for_peer() || policy.config.log_client_identity;
  return address.is_unix() && is_wanted ? peer_user(descriptor) : std::string();
}

// How long a client may take for its StartupMessage even if other clients wait. A TLS handshake takes two round trips.
constexpr std::chrono::seconds kMinTimeToOpen{1};

// Return whether bytes of that side may be missing. The opposite side must then not see a regular end of TLS.
bool cuts_off_server(Reason reason) {
  return reason == Reason::upstream_lost || reason == Reason::server_closed_unexpectedly ||
         reason == Reason::server_closed_in_message || reason == Reason::internal_error;
}
bool cuts_off_client(Reason reason) {
  return reason == Reason::client_lost || reason == Reason::client_closed_unexpectedly ||
         reason == Reason::client_closed_in_message || reason == Reason::internal_error;
}

}  // namespace

Session::Session(SessionServices& services, SessionRegistration registration, SessionId id,
                 WatchedSocket client, const KernelAddress& address, SnapshotListener listener,
                 std::string listener_address)
    : id_(id),
      context_{.services = services,
               .owner = *this,
               .listener = std::move(listener),
               .origin = ClientOrigin(address),
               .client = nullptr,
               .deadline = Deadline(services.loop, *this),
               .registration = std::move(registration),
               .observer = SessionObserver()},
      metrics_(context_.metrics()) {
  const ListenerPolicy& policy = context_.policy();
  std::string unix_user = wanted_unix_user(policy, address, client.descriptor.get());
  context_.observer.note_client({.session = session_name(id),
                                 .worker = services.worker,
                                 .address = address.text(),
                                 .listener = std::move(listener_address),
                                 .upstream = policy.config.upstream});
  context_.observer.note_identity(unix_user);
  context_.client = std::make_unique<SocketStream>(std::move(client), *this, true);
  stage_ = std::make_unique<ClientOpening>(context_, std::move(unix_user));
  metrics_.on_begin();  // from here on nothing throws
  context_.observer.count_in(metrics_);
}

// Runs the session until it must wait. Every libuv callback stores its event and then calls this function. It may be
// called while it runs, for example if a write fails at once; the outer call then runs the loop once more.
void Session::advance() {
  woken_ = true;
  if (advancing_) return;
  advancing_ = true;
  while (std::exchange(woken_, false)) {
    try {
      for (Phase next = step(); next != phase_; next = step()) change_phase(next);
    } catch (const std::bad_alloc&) {
      change_phase(end_without_memory());
      woken_ = phase_ != Phase::closed;
    }
  }
  advancing_ = false;
  if (phase_ == Phase::closed && !std::exchange(is_over_, true)) context_.services.on_closed(id_);
}

// The clock is read only for the phases whose duration is counted.
void Session::change_phase(Phase next) {
  metrics_.on_change(phase_, next);
  const Phase last = std::exchange(phase_, next);
  if (!SessionMetrics::is_timed(last) && !SessionMetrics::is_timed(next)) return;
  const auto now = std::chrono::steady_clock::now();
  if (SessionMetrics::is_timed(last)) metrics_.duration_of(last).add(now - phase_began_);
  if (next == Phase::relay) metrics_.start.add(now - context_.observer.accepted());
  phase_began_ = now;
}

// The phases of a session in their order. Each step returns the next phase, or its own phase if it must wait.
Session::Phase Session::step() {
  if (early_link_) advance_early();
  switch (phase_) {
    case Phase::negotiate:
    case Phase::accept_tls:
    case Phase::read_startup: return open(stage<ClientOpening>());
    case Phase::authorize: return admit(stage<Admission>());
    case Phase::connect:
    case Phase::verify_upstream:
    case Phase::log_in: return log_in(stage<LoginExchange>());
    case Phase::relay: return relay(stage<EstablishedSession>());
    case Phase::forward_cancel: return forward_cancel(stage<CancelForward>());
    case Phase::closing: return close(stage<Closing>());
    case Phase::closed: return Phase::closed;
  }
  return Phase::closed;
}

Session::Phase Session::open(ClientOpening& opening) {
  switch (opening.advance()) {
    case ClientOpening::State::negotiating: return Phase::negotiate;
    case ClientOpening::State::accepting_tls:
      if (phase_ == Phase::negotiate) connect_early();
      return Phase::accept_tls;
    case ClientOpening::State::reading_startup: return Phase::read_startup;
    case ClientOpening::State::startup:
      stage_ = std::make_unique<Admission>(context_, opening.take_client());
      return Phase::authorize;
    case ClientOpening::State::cancel: return begin_cancel(opening);
    case ClientOpening::State::failed: break;
  }
  return end(opening.ending());
}

// Starts to connect to the server during the TLS handshake with the client, before the rules are checked. No
// byte of the client is sent to the server. The session is counted from here on, so that there are never more
// connections to servers than sessions.
void Session::connect_early() {
  const ListenerPolicy& policy = context_.policy();
  if (!policy.config.connect_early || !policy.rules.may_admit(context_.origin.address())) return;
  if (!context_.registration.enter_session(max_unreserved_sessions(context_.listener))) return;
  early_link_ = context_.dial(policy.upstream, policy.upstream->tls, {});
}

// Drops the early connection without a message if it fails, ends, or sends bytes before the StartupMessage. Once the
// client is admitted, the session dials the server again.
void Session::advance_early() {
  const auto state = early_link_->advance(context_.scratch());
  if (state != UpstreamLink::State::connecting) context_.note_server(*early_link_);
  if (state == UpstreamLink::State::failed ||
      (state == UpstreamLink::State::established && early_link_->broken_silence(context_.scratch())))
    early_link_.reset();
}

Session::Phase Session::begin_cancel(ClientOpening& opening) {
  if (early_link_) early_link_->close(context_.scratch());
  early_link_.reset();
  auto cancel = CancelForward::begin(context_, opening.take_cancel_request(), opening.connection());
  if (!cancel) return end(cancel.error());
  stage_ = *std::move(cancel);
  return Phase::forward_cancel;
}

Session::Phase Session::admit(Admission& admission) {
  if (context_.services.shared.draining) return end({.reason = Reason::draining});
  switch (admission.advance()) {
    case Admission::State::waiting: return Phase::authorize;
    case Admission::State::refused: return end(admission.ending());
    case Admission::State::admitted: break;
  }
  stage_ = std::make_unique<LoginExchange>(context_, admission.take_client(), std::move(early_link_));
  return Phase::connect;
}

Session::Phase Session::log_in(LoginExchange& login) {
  switch (login.advance()) {
    case LoginExchange::State::connecting: return Phase::connect;
    case LoginExchange::State::verifying: return Phase::verify_upstream;
    case LoginExchange::State::logging_in: return Phase::log_in;
    case LoginExchange::State::logged_in: return begin_relay(login);
    case LoginExchange::State::failed: break;
  }
  return end(login.ending());
}

Session::Phase Session::begin_relay(LoginExchange& login) {
  auto established = std::make_unique<EstablishedSession>(context_, login.take_session());
  note_successful_login(context_);
  if (auto* table = context_.services.labelled)
    context_.observer.count_by_labels(*table, host_of(context_.origin.address()));
  const Snapshot& snapshot = context_.listener.snapshot();
  context_.observer.establish(snapshot.admin.address || has_admin_database(snapshot));
  stage_ = std::move(established);
  check_newest_snapshot();
  return Phase::relay;
}

// Checks a session whose login has begun under one snapshot and ends under another one.
void Session::check_newest_snapshot() {
  const auto* newest = context_.services.newest_snapshot;
  if (newest == nullptr || (*newest)->number <= context_.listener.snapshot().number) return;
  if ((*newest)->reload.sessions != ReloadSessions::revalidate) return;
  ChainVerdicts verdicts;
  static_cast<void>(check(**newest, verdicts));
}

Session::Phase Session::relay(EstablishedSession& established) {
  const auto state = established.advance();
  return state == EstablishedSession::State::relaying ? Phase::relay : end_relay(established, state);
}

// This is not a part of relay(), which runs for every message and must use few registers.
Session::Phase Session::end_relay(const EstablishedSession& established, EstablishedSession::State state) {
  return end(established.ending(state));
}

Session::Phase Session::forward_cancel(CancelForward& cancel) {
  const auto ending = cancel.advance();
  return ending ? end(*ending) : Phase::forward_cancel;
}

Session::Phase Session::close(Closing& closing) {
  return closing.advance() ? Phase::closed : Phase::closing;
}

bool Session::may_make_room() const {
  if (phase_ == Phase::authorize) return std::get<std::unique_ptr<Admission>>(stage_)->waits_at_gate();
  if (phase_ > Phase::read_startup) return false;
  const auto left = context_.deadline.left();
  return left && *left + kMinTimeToOpen < context_.limits().startup_timeout &&
         std::get<std::unique_ptr<ClientOpening>>(stage_)->waits_for_client();
}

void Session::make_room() {
  const Ending ending{.reason = Reason::made_room};
  context_.observer.count_end(ending);
  try {
    if (has_startup()) context_.observer.audit(ending);
    context_.observer.log_closed(ending, name_of(phase_));
    if (early_link_) early_link_->close(context_.scratch());
  } catch (const std::bad_alloc&) {
    // There is no memory for the log line, or for a regular end of the early connection.
  }
  early_link_.reset();
  context_.registration.leave();
  context_.registration.leave_unauthenticated();
  change_phase(Phase::closed);
  advance();
}

void Session::add_to(SessionSurvey& survey) const {
  if (phase_ != Phase::relay) return;
  const SessionActivity activity = std::get<std::unique_ptr<EstablishedSession>>(stage_)->activity();
  survey.add(metrics_, activity);
  if (auto* row = context_.observer.label_row()) LabelledSessions::add_running(*row, activity.traffic);
}

ListedSession Session::list() const {
  ListedSession listed{.id = id_,
                       .phase = phase_,
                       .accepted = context_.observer.accepted(),
                       .activity = std::nullopt,
                       .details = context_.observer.details()};
  if (phase_ == Phase::relay)
    listed.activity = std::get<std::unique_ptr<EstablishedSession>>(stage_)->activity();
  return listed;
}

void Session::shut_down() {
  end_from_outside({.reason = phase_ < Phase::relay ? Reason::draining : Reason::shutting_down});
}

void Session::drain() {
  if (phase_ == Phase::relay) {
    try {
      stage<EstablishedSession>().end_when_idle({.reason = Reason::shutting_down});
    } catch (const std::bad_alloc&) {
      return end_from_outside({.reason = Reason::out_of_memory});
    }
    advance();
  } else if (phase_ >= Phase::authorize && phase_ < Phase::relay) {
    end_from_outside({.reason = Reason::draining});
  }
}

Session::Revalidation Session::revalidate(const Snapshot& snapshot, ChainVerdicts& verdicts) {
  if (phase_ != Phase::relay) return Revalidation::not_due;
  try {
    const Revalidation result = check(snapshot, verdicts);
    if (result == Revalidation::ending) advance();
    return result;
  } catch (const std::bad_alloc&) {
    // Otherwise a certificate that is revoked could stay in use.
    end_from_outside({.reason = Reason::out_of_memory});
    return Revalidation::ending;
  }
}

Session::Revalidation Session::check(const Snapshot& snapshot, ChainVerdicts& verdicts) {
  auto& established = stage<EstablishedSession>();
  const KeptLogin* login = established.kept_login();
  if (login == nullptr) return Revalidation::without_data;
  if (established.ends_when_idle()) return Revalidation::not_due;
  auto ending = check_login(*login, context_.origin.address(), context_.listener, snapshot, verdicts);
  if (!ending) return Revalidation::admitted;
  LogLine(LogLevel::warning, "session_not_admitted")
      .add("session", session_name(id_))
      .add("detail", ending->detail);
  established.end_when_idle(*std::move(ending));
  return Revalidation::ending;
}

void Session::log_abandoned() {
  const Ending ending{.reason = Reason::shutting_down};
  try {
    if (phase_ != Phase::closing && phase_ != Phase::closed) current_stage().report(context_.observer);
    if (has_startup()) context_.observer.audit(ending);
    context_.observer.log_closed(ending, name_of(phase_));
  } catch (const std::bad_alloc&) {
    return;  // there is no memory for them
  }
}

void Session::end_from_outside(const Ending& ending) {
  if (phase_ == Phase::closing || phase_ == Phase::closed) return;
  try {
    change_phase(end(ending));
  } catch (const std::bad_alloc&) {
    change_phase(end_without_memory());
  }
  advance();
}

// Sends the last message to the client, writes the session's last log line, and ends both sides. After that
// the session only waits for the peers to close.
Session::Phase Session::end(const Ending& ending) {
  auto closing = std::make_unique<Closing>(context_);
  if (phase_ < Phase::relay && is_failed_login(ending.reason)) note_failed_login(context_);
  context_.registration.leave();  // before the last message: its reader may connect again at once
  const bool client_was_told = tell_client(ending);
  // A client whose certificate was refused has no StartupMessage yet, but it has an identity.
  if (has_startup() || ending.reason == Reason::client_certificate_invalid) context_.observer.audit(ending);
  current_stage().report(context_.observer);
  context_.observer.log_closed(ending, name_of(phase_));
  if (early_link_) early_link_->close(context_.scratch());
  early_link_.reset();
  closing->begin(
      current_stage().release_server(),
      client_was_told || !cuts_off_server(ending.reason) ? Stream::Finish::complete : Stream::Finish::cut_off,
      cuts_off_client(ending.reason) ? Stream::Finish::cut_off : Stream::Finish::complete);
  is_refused_ = ending.reason == Reason::draining;
  stage_ = std::move(closing);
  return Phase::closing;
}

// Ends the session after std::bad_alloc, the only exception that can be thrown. No exception may leave a
// session: it would pass through libuv or end the process. An established session is closed at once and
// without a message: bytes of either side may be lost, and the receiver would read the message as if it were
// those bytes. Other sessions send an error, if there is memory for it.
Session::Phase Session::end_without_memory() {
  const Ending ending{.reason = Reason::out_of_memory};
  try {
    if (phase_ == Phase::relay) current_stage().report(context_.observer);
    context_.observer.count_end(ending);
    if (phase_ < Phase::relay || phase_ == Phase::forward_cancel) return end(ending);
    if (phase_ == Phase::relay) context_.observer.log_closed(ending, name_of(phase_));
  } catch (const std::bad_alloc&) {
    // There is no memory even for the last log line.
  }
  early_link_.reset();
  context_.registration.leave();
  return Phase::closed;
}

// Sends the last message to the client, if there is one. Returns whether it was sent.
bool Session::tell_client(const Ending& ending) {
  // A client that has asked for nothing yet gets no error at shutdown, only the end of the connection.
  const bool has_asked = phase_ != Phase::negotiate && phase_ != Phase::read_startup;
  if (ending.reason == Reason::draining && !has_asked) return false;
  const auto message = last_message(ending, current_stage().error_format(), context_.origin.is_local());
  if (message.empty()) return false;
  context_.client->write(context_.scratch(), message);
  return true;
}

// Returns whether the client's StartupMessage is known.
bool Session::has_startup() const {
  return phase_ > Phase::read_startup && phase_ < Phase::forward_cancel;
}

Stage& Session::current_stage() {
  return std::visit([](const auto& stage) -> Stage& { return *stage; }, stage_);
}

}  // namespace pgveil::proxy
