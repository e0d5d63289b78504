#include "proxy/session/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "protocol/backend.h"
#include "proxy/access/identity.h"
#include "proxy/base/unix_peer.h"
#include "proxy/diagnostics/log.h"
#include "proxy/session/client_tls_failure.h"
#include "proxy/session/session_bytes.h"
#include "proxy/session/startup_parameters.h"
#include "proxy/upstream/upstream_failure.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

constexpr std::chrono::seconds kCancelTimeout{10};
// How long an ended session waits for a peer that takes what is left to be sent, and for one that has it all.
constexpr std::chrono::seconds kFlushTimeout{300};
constexpr std::chrono::seconds kLingerTimeout{2};
// How long a client that has ended its side waits for a server that is silent. Its last statement may still
// run.
constexpr std::chrono::seconds kLastAnswerTimeout{30};
// How often a login that waits for the audit file asks again.
constexpr std::chrono::milliseconds kAuditPause{100};

// "7f3a-2b": which run of the program, and which of its sessions.
std::string session_name(SessionId id) {
  return fmt::format("{:04x}-{:x}", id >> 32U, id & 0xffffffffU);
}

protocol::NegotiationPolicy negotiation_policy(const ListenerPolicy& listener) {
  const bool takes_tls = listener.tls != nullptr;
  return {.tls = takes_tls, .direct_tls = takes_tls, .user_may_be_missing = listener.rules.may_assign()};
}

// How often a session whose client has ended its side is looked at: which of the two times counts depends on
// what waits for the client by then.
std::chrono::milliseconds last_answer_interval(std::chrono::milliseconds idle_timeout) {
  constexpr std::chrono::milliseconds kLongest = kLastAnswerTimeout;
  return idle_timeout.count() == 0 ? kLongest : std::min(idle_timeout, kLongest);
}

// Reads and drops what still comes. True once the peer has ended too and everything is sent to it.
bool is_drained(Stream& stream, Scratch& scratch) {
  for (int reads = 0; may_read(stream, reads); ++reads) {
    const auto status = stream.read(scratch, scratch.incoming.size()).status;
    if (status == Stream::Status::failed) return true;
    if (status == Stream::Status::ended) return stream.unwritten() == 0;
    if (status == Stream::Status::blocked) return false;
  }
  return false;
}

// OpenSSL failed, which is nobody's fault on the wire.
std::optional<Ending> internal_failure(const Stream& stream, const std::string& side) {
  const auto* failure = stream.tls_failure();
  if (failure == nullptr || failure->failure != tls::Failure::internal_error) return std::nullopt;
  return Ending{
      .reason = Reason::internal_error,
      .detail = "OpenSSL failed to encrypt or decrypt for the " + side + ": " + failure->reason + '.'};
}

// Whether what a side was still to send may be missing. The other side must not take that for a regular end.
bool cuts_off_server(Reason reason) {
  return reason == Reason::upstream_lost || reason == Reason::server_closed_unexpectedly ||
         reason == Reason::server_closed_in_message || reason == Reason::internal_error;
}
bool cuts_off_client(Reason reason) {
  return reason == Reason::client_lost || reason == Reason::client_closed_unexpectedly ||
         reason == Reason::client_closed_in_message || reason == Reason::internal_error;
}

}  // namespace

Session::Session(SessionHost& host, SessionId id, WatchedSocket client, const KernelAddress& peer,
                 SnapshotListener listener, std::string listener_address)
    : host_(host),
      id_(id),
      listener_(std::move(listener)),
      client_address_(peer),
      client_is_local_(peer.is_unix() || peer.is_loopback()),
      deadline_(host.loop(), *this),
      record_(std::make_unique<Record>()),
      negotiation_(std::make_unique<protocol::Negotiation>(negotiation_policy(policy()))) {
  if (peer.is_unix() && (policy().rules.asks_for_peer() || policy().config.log_client_identity))
    record_->identity = unix_user_ = peer_user(client.descriptor.get());
  record_->session = session_name(id);
  record_->worker = host.number();
  record_->client = peer.text();
  record_->listener = std::move(listener_address);
  record_->upstream = policy().config.upstream;
  client_ = std::make_unique<SocketStream>(std::move(client), *this, true);
  deadline_.set(limits().startup_timeout);
}

Session::~Session() {
  leave();
  leave_newcomers();
  forget_login();
}

// Runs the session until it must wait. Every libuv callback notes what happened and calls this; nothing else
// does. May be entered while it runs, as when a write fails at once: the outer loop then goes round once
// more.
void Session::advance() {
  woken_ = true;
  if (advancing_) return;
  advancing_ = true;
  while (std::exchange(woken_, false)) {
    try {
      for (Phase next = step(); next != phase_; next = step()) phase_ = next;
    } catch (const std::bad_alloc&) {
      phase_ = end_without_memory();
      woken_ = phase_ != Phase::closed;
    }
  }
  advancing_ = false;
  if (phase_ == Phase::closed && !std::exchange(is_over_, true)) host_.session_over(id_);
}

// No exception leaves a session: it would end the process, or pass through libuv. The only one that can be
// thrown is std::bad_alloc. An established session is closed at once and without a message: bytes of either
// side may be lost, and whatever followed them would be read in their place. The other ones are told, if
// there is memory for that.
Session::Phase Session::end_without_memory() {
  const Ending ending{.reason = Reason::out_of_memory};
  try {
    if (phase_ < Phase::relay || phase_ == Phase::forward_cancel) return end(ending);
    if (phase_ == Phase::relay)
      log_session_closed(*established_,
                         {.sent = relay_->bytes_to_client(),
                          .received = established_->received_bytes + relay_->bytes_to_server()},
                         ending);
  } catch (const std::bad_alloc&) {
    // Not even for its last line.
  }
  leave();
  return Phase::closed;
}

// The life of a session, top to bottom. Each step returns the phase to enter, or its own phase to wait for
// more.
Session::Phase Session::step() {
  if (link_ && phase_ < Phase::connect) advance_early();
  switch (phase_) {
    case Phase::negotiate: return negotiate();
    case Phase::accept_tls: return accept_tls();
    case Phase::read_startup: return negotiate();
    case Phase::authorize: return authorize();
    case Phase::connect:
    case Phase::verify_upstream: return connect();
    case Phase::log_in: return log_in();
    case Phase::relay: return relay();
    case Phase::forward_cancel: return forward_cancel();
    case Phase::closing: return close();
    case Phase::closed: return Phase::closed;
  }
  return Phase::closed;
}

Session::Phase Session::negotiate() {
  if (deadline_.passed()) return end(timeout_ending());
  for (;;) {
    protocol::ByteReader in(client_in_);
    protocol::Bytes answer;
    const auto event = negotiation_->advance(in, answer);
    consume(client_in_, in);
    if (!answer.empty()) client_->write(host_.scratch(), answer);
    switch (event) {
      case protocol::Negotiation::Event::startup:
        startup_ = negotiation_->take_startup();
        set_database(startup_, policy().config);
        return Phase::authorize;
      case protocol::Negotiation::Event::cancel: return begin_cancel();
      case protocol::Negotiation::Event::accept_tls: return begin_tls();
      case protocol::Negotiation::Event::failed: return end(negotiation_ending());
      case protocol::Negotiation::Event::more: break;
    }
    if (!client_->readable()) return phase_;
    const auto read = client_->read(host_.scratch(), kStartupReadBytes);
    switch (read.status) {
      case Stream::Status::blocked: return phase_;
      case Stream::Status::bytes: break;
      case Stream::Status::failed:
      case Stream::Status::ended: return end(early_leave());
    }
    record_->received_bytes += read.bytes.size();
    client_in_.insert(client_in_.end(), read.bytes.begin(), read.bytes.end());
  }
}

// What has been read after the SSLRequest, or as direct TLS, is the handshake's and nobody else's.
Session::Phase Session::begin_tls() {
  auto engine = tls::Engine::to_client(policy().tls, negotiation_->direct_tls());
  auto stream =
      std::make_unique<TlsStream>(std::move(client_), std::move(engine), std::exchange(client_in_, {}));
  accepting_ = stream.get();
  handshake_turn_.emplace(host_.handshake_turns(), *this);
  client_ = std::move(stream);
  if (policy().config.connect_early && policy().rules.may_admit(client_address_)) connect_early();
  return Phase::accept_tls;
}

Session::Phase Session::accept_tls() {
  if (deadline_.passed()) return end(timeout_ending());
  if (!accepting_->readable()) return Phase::accept_tls;
  if (!handshake_turn_->take()) {
    if (handshake_turn_->is_in_a_crowd()) client_->pause_reading();
    return Phase::accept_tls;
  }
  client_->resume_reading();
  switch (accepting_->shake_hands(host_.scratch())) {
    case TlsStream::Handshake::waiting: return Phase::accept_tls;
    case TlsStream::Handshake::failed:
      record_->refused_certificate = accepting_->failure().peer;
      return end(failed_handshake());
    case TlsStream::Handshake::done: break;
  }
  handshake_turn_.reset();
  record_->client_tls = accepting_->take_established();
  if (record_->client_tls->peer) record_->identity = record_->client_tls->peer->subject;
  negotiation_->tls_established();
  return Phase::read_startup;
}

// The TLS policy is enforced here, whatever way the StartupMessage has come. Waits only for the client's host
// name, and only where a rule goes by it; and for an audit file that takes no records.
Session::Phase Session::authorize() {
  if (deadline_.passed())
    return end(audit_pause_
                   ? Ending{.reason = Reason::audit_unavailable,
                            .detail = "The audit file took no records within limits.startup_timeout.",
                            .hint = "Look after the reader of audit_file, or its disk."}
                   : Ending{.reason = Reason::startup_timeout,
                            .detail = "The client's host name was not found in time."});
  client_->pause_reading();
  record_->user = startup_.user();
  record_->requested_user = startup_.user();
  record_->database = startup_.database();
  const bool has_tls = negotiation_->inside_tls();
  if (!has_tls && policy().tls && policy().config.tls_policy() == ListenerTls::require)
    return end({.reason = Reason::tls_required,
                .hint = "Connect with sslmode=verify-full (or at least sslmode=require)."});
  if (client_->write_broken()) return end(lost_client_ending());
  if (waits_for_audit()) return Phase::authorize;
  if (client_name_ && !client_name_->found()) return Phase::authorize;

  const bool has_certificate = record_->client_tls && record_->client_tls->peer;
  Visitor visitor{.address = client_address_,
                  .has_tls = has_tls,
                  .certificate = has_certificate ? &*record_->client_tls->peer : nullptr,
                  .unix_user = unix_user_,
                  .user = startup_.user(),
                  .database = startup_.database(),
                  .physical_replication = startup_.is_physical_replication(),
                  .host_name = client_name_ ? client_name_->found() : std::nullopt};
  Decision decision = policy().rules.decide(visitor);
  const bool assigns = decision.rule != nullptr && decision.rule->assign && !decision.refusal;
  if (assigns && startup_.find("database").value_or("").empty()) {
    // The database of the user that the client becomes: it is for the rules to say whether it may go there.
    record_->database = decision.database_user;
    visitor.database = record_->database;
    decision = policy().rules.decide(visitor);
  }
  if (decision.needs_host_name) {
    client_name_ = std::make_unique<ClientName>(host_.resolver(), client_address_, *this);
    if (client_name_->found()) wake();  // from the hosts file
    return Phase::authorize;
  }
  client_name_.reset();
  return admit(decision);
}

// A session begins only if its audit record will be written. The queue of records has room for those that are
// already past this point.
bool Session::waits_for_audit() {
  if (audit_has_room()) {
    audit_pause_.reset();
    return false;
  }
  if (!audit_pause_) audit_pause_ = std::make_unique<Deadline>(host_.loop(), *this);
  audit_pause_->set(kAuditPause);
  return true;
}

Session::Phase Session::admit(const Decision& decision) {
  record_->take(decision);
  if (decision.refusal) return end(*decision.refusal);
  if (!in_session_) in_session_ = host_.enter_session();
  if (!in_session_)
    return end({.reason = Reason::too_many_sessions,
                .detail = "All " + std::to_string(limits().max_sessions) + " sessions are in use.",
                .hint = "Raise limits.max_sessions, or close sessions."});
  leave_newcomers();
  method_ = decision.rule->method;
  if (decision.rule->assign) {
    startup_.set("user", decision.database_user);
    startup_.set("database", record_->database);
  }
  record_->user = startup_.user();
  record_->database = startup_.database();
  if (auto refusal = prepare_startup()) return end(*refusal);
  const Upstream& upstream = *policy().upstream;
  auto context = upstream.tls;
  if (is_vouched_for(method_) && !upstream.config.role_certificates.empty()) {
    context = upstream.held.certificate_of(startup_.user());
    if (!context) return end(no_role_certificate(upstream.config, record_->user));
  }
  dial(std::move(context));
  return Phase::connect;
}

// What the server reads beside user and database.
std::optional<Ending> Session::prepare_startup() {
  if (is_vouched_for(method_))
    if (auto refusal = refuse_parameter(startup_, policy().config)) return refusal;
  set_parameters(startup_, policy().config);
  if (policy().config.log_client_identity)
    announce_identity(startup_, {.who = record_->identity, .system_user = record_->system_user},
                      policy().config.client_identity_in);
  if (protocol::fits_startup_packet(startup_)) return std::nullopt;
  return Ending{.reason = Reason::protocol_violation,
                .detail = "The startup packet has no room left for what the proxy adds to it.",
                .hint = "Send shorter parameters, or turn log_client_identity off."};
}

// Before the client has its ReadyForQuery: a cancel request may follow at once, and come to another worker.
void Session::add_cancel_route() {
  if (!login_->cancel_key()) return;
  cancel_key_ = login_->cancel_key();
  host_.cancel_routes().add(*cancel_key_, {.upstream = policy().upstream, .server = *link_->server()});
}

Session::Phase Session::begin_relay() {
  if (!server_in_.empty()) {
    client_->write(host_.scratch(), server_in_);
    relay_->follow_to_client(server_in_);
  }
  if (login_->client_part() != Login::ClientPart::relayed) {
    // What came too early is the session's all the same.
    if (!client_in_.empty()) server_->write(host_.scratch(), client_in_);
    relay_->follow_to_server(client_in_);
    client_->resume_reading();
  }
  record_->server_method = login_->server_method();
  audit(nullptr);
  forget_login();
  established_ = log_session_started(*record_);
  record_.reset();
  if (Ring* ring = host_.ring()) {
    client_->move_to(*ring);
    server_->move_to(*ring);
  }
  last_activity_ = time_now();
  const auto idle_timeout = limits().idle_timeout;
  deadline_.set(relay_->client_ended() ? last_answer_interval(idle_timeout) : idle_timeout);
  return Phase::relay;
}

Session::Phase Session::relay() {
  const auto moved_before = relay_->bytes_to_client() + relay_->bytes_to_server();
  const bool client_ended_before = relay_->client_ended();
  const auto ended = relay_->advance(host_.scratch());
  if (!ended) {
    if (limits().idle_timeout.count() > 0 || relay_->client_ended()) note_activity(moved_before);
    if (relay_->client_ended() != client_ended_before) {
      last_activity_ = time_now();
      deadline_.set(last_answer_interval(limits().idle_timeout));
    }
    if (relay_->in_bulk() || bulk_deadline_) look_after_bulk();
    return deadline_.passed() ? relay_in_silence() : Phase::relay;
  }
  switch (*ended) {
    case Relay::End::client_closed: return end(closed_by_client(client_end()));
    case Relay::End::client_lost: return end(lost_client_ending());
    case Relay::End::server_closed: return end(closed_by_server(server_end()));
    case Relay::End::server_lost:
      return end(internal_failure(*server_, "server")
                     .value_or(Ending{.reason = Reason::upstream_lost, .detail = server_->error()}));
  }
  return Phase::closing;
}

// For a timeout, if there is one. That something which waited was sent is activity as well: a slow reader is
// not a silent one.
void Session::note_activity(std::uint64_t moved_before) {
  const std::size_t waiting = client_->unwritten() + server_->unwritten();
  if (relay_->bytes_to_client() + relay_->bytes_to_server() != moved_before || waiting != waiting_)
    last_activity_ = time_now();
  waiting_ = waiting;
}

void Session::look_after_bulk() {
  if (bulk_deadline_ && bulk_deadline_->passed()) relay_->look_after_bulk();
  if (!relay_->in_bulk()) {
    bulk_deadline_.reset();
  } else if (!bulk_deadline_ || bulk_deadline_->passed()) {
    if (!bulk_deadline_) bulk_deadline_ = std::make_unique<Deadline>(host_.loop(), *this);
    bulk_deadline_->set(Relay::kBulkPatience);
  }
}

// Traffic does not touch the timer: when it expires, the time since the last byte decides. The time of a
// client that has ended its side counts only while the server owes it something. If it is the client that
// does not read what is there, it is as idle as any other client.
Session::Phase Session::relay_in_silence() {
  const std::chrono::milliseconds idle_timeout = limits().idle_timeout;
  const std::chrono::milliseconds quiet = time_now() - last_activity_;
  const bool awaits_last_answer = relay_->client_ended() && client_->unwritten() == 0;
  const std::chrono::milliseconds allowed = awaits_last_answer ? kLastAnswerTimeout : idle_timeout;
  if (allowed.count() == 0 || quiet < allowed) {
    const std::chrono::milliseconds most =
        relay_->client_ended() ? last_answer_interval(idle_timeout) : idle_timeout;
    deadline_.set(allowed.count() == 0 ? most : std::min(allowed - quiet, most));
    return Phase::relay;
  }
  if (!awaits_last_answer) return end({.reason = Reason::idle_timeout});
  Ending ending = closed_by_client(client_end());
  ending.detail +=
      (ending.detail.empty() ? "" : " ") + std::string("The server has not answered for 30 seconds since.");
  return end(ending);
}

// A key that this process does not know goes to the upstream's only server: another replica may have relayed
// it.
Session::Phase Session::begin_cancel() {
  if (policy().config.plaintext_cancel == PlaintextCancel::deny && policy().tls &&
      !negotiation_->inside_tls())
    return end({.reason = Reason::plaintext_cancel_denied});
  const auto route = host_.cancel_routes().find(negotiation_->cancel());
  if (!route && policy().upstream->config.hosts.size() != 1) return end({.reason = Reason::cancel_unknown});
  if (!host_.enter_cancel()) return end({.reason = Reason::too_many_cancels});
  in_cancel_ = true;
  leave_newcomers();
  client_->pause_reading();
  deadline_.set(kCancelTimeout);
  drop_link();  // and its place: cancel requests are counted by themselves
  if (std::exchange(in_session_, false)) host_.leave_session();
  const auto& upstream = route ? route->upstream : policy().upstream;
  Course course;
  if (route) course.only = route->server;
  link_ = new_link(upstream, upstream->tls, std::move(course));
  return Phase::forward_cancel;
}

// The client's connection is closed only after the server has closed its own: until then the signal may still
// be on its way, and would hit the client's next statement (fe-cancel.c).
Session::Phase Session::forward_cancel() {
  if (deadline_.passed()) {
    note_server();
    return end(link_->timed_out("close the connection after the cancel request"));
  }
  if (!server_) {
    const auto state = link_->advance(host_.scratch());
    if (state != UpstreamLink::State::connecting) note_server();
    if (state == UpstreamLink::State::failed) return end(link_->failure());
    if (state != UpstreamLink::State::established) return Phase::forward_cancel;
    record_->server_tls = link_->tls();
    server_ = link_->take_stream();
    protocol::Bytes request;
    protocol::encode_cancel_request(negotiation_->cancel(), request);
    server_->write(host_.scratch(), request);
    wipe_away(request);
  }
  for (int reads = 0; may_read(*server_, reads); ++reads) {
    const auto status = server_->read(host_.scratch(), kStartupReadBytes).status;
    if (status == Stream::Status::blocked) break;
    if (status != Stream::Status::bytes) return end({.reason = Reason::cancel_forwarded});
  }
  return Phase::forward_cancel;
}

void Session::shut_down() {
  if (phase_ == Phase::closing || phase_ == Phase::closed) return;
  try {
    phase_ = end({.reason = Reason::shutting_down});
  } catch (const std::bad_alloc&) {
    phase_ = end_without_memory();
  }
  advance();
}

// Says the last word to the client, ends both sides, and writes the session's line. What follows is waiting.
Session::Phase Session::end(const Ending& ending) {
  Traffic traffic{.sent = 0, .received = record_ ? record_->received_bytes : established_->received_bytes};
  if (relay_) {
    traffic.sent = relay_->bytes_to_client();
    traffic.received += relay_->bytes_to_server();
    relay_->end_bulk();
    bulk_deadline_.reset();
  }
  leave();  // who reads the last word may come again at once
  const bool client_was_told = tell_client(ending);
  // A certificate that was refused is somebody, too.
  if (has_startup() || ending.reason == Reason::client_certificate_invalid) audit(&ending);
  if (record_) {
    log_session_closed(*record_, traffic, ending, name_of(phase_));
  } else {
    if (relay_->server_gave_up()) established_->server_sqlstate = relay_->server_sqlstate();
    log_session_closed(*established_, traffic, ending);
  }
  relay_.reset();
  drop_link();
  forget_login();
  finish(*client_, client_was_told || !cuts_off_server(ending.reason));
  if (server_) finish(*server_, !cuts_off_client(ending.reason));
  deadline_.set(kLingerTimeout);
  closing_backlog_ = 0;
  return Phase::closing;
}

void Session::finish(Stream& stream, bool is_complete) {
  stream.finish(host_.scratch(), is_complete ? Stream::Finish::complete : Stream::Finish::cut_off);
  stream.resume_reading();
}

// Waits until both sides have everything and have closed too. Closing earlier, with bytes unread, would make
// the kernel send RST, which can destroy the last message on its way.
Session::Phase Session::close() {
  const bool client_done = is_drained(*client_, host_.scratch());
  const bool server_done = !server_ || is_drained(*server_, host_.scratch());
  if (client_done && server_done) return Phase::closed;
  const std::size_t backlog = client_->unwritten() + (server_ ? server_->unwritten() : 0);
  if (backlog != closing_backlog_) {
    closing_backlog_ = backlog;
    deadline_.set(backlog > 0 ? kFlushTimeout : kLingerTimeout);
  }
  return deadline_.passed() ? Phase::closed : Phase::closing;
}

// The client has ended its connection before its StartupMessage, or its first record cannot be read.
Ending Session::early_leave() const {
  std::string certificate;
  if (record_->client_tls)
    certificate = policy().tls->shown_certificate_text(record_->client_tls->own_sha256_fingerprint,
                                                       record_->client_tls->server_name);
  if (const auto* failure = client_->tls_failure()) return client_tls_ending(*failure, certificate);
  return early_leave_ending({.error = client_->error(),
                             .has_sent = record_->received_bytes > 0 || negotiation_->inside_tls(),
                             .inside_packet = !client_in_.empty(),
                             .inside_tls = negotiation_->inside_tls(),
                             .declined = negotiation_->declined(),
                             .certificate = std::move(certificate)});
}

Ending Session::failed_handshake() const {
  Ending ending = client_tls_ending(accepting_->failure());
  const bool has_begun = accepting_->peer_has_spoken();
  if (accepting_->failure().failure == tls::Failure::unexpected_eof && !has_begun)
    ending.detail =
        "The client asked for TLS and left without a ClientHello, as libpq does if it cannot load "
        "sslrootcert "
        "or sslcert.";
  return ending;
}

Ending Session::negotiation_ending() const {
  using Failure = protocol::NegotiationFailure;
  Ending ending{.reason = Reason::protocol_violation,
                .message = negotiation_->failure_message(),
                .detail = std::string(negotiation_->failure_detail()),
                .hint = std::string(negotiation_->failure_hint())};
  switch (negotiation_->failure()) {
    case Failure::malformed_packet:
      return malformed_startup_ending(client_in_, negotiation_->failure_message());
    case Failure::direct_tls_not_offered:
      ending.reason = Reason::tls_not_offered;
      ending.detail = "The client began with TLS, as with sslnegotiation=direct.";
      break;
    case Failure::unsupported_version: ending.reason = Reason::unsupported_protocol; break;
    case Failure::unencrypted_data_after_ssl_request:
    case Failure::unencrypted_data_after_gss_request:
      ending.reason = Reason::unencrypted_data_after_ssl_request;
      break;
    case Failure::no_user: ending.reason = Reason::no_user; break;
    case Failure::invalid_replication: ending.reason = Reason::invalid_parameter; break;
    case Failure::bad_layout:
    case Failure::duplicate_parameter:
    case Failure::name_too_long: break;
  }
  return ending;
}

// Of a client that can be told nothing any more: its connection broke, or both sides of it are closed.
Ending Session::lost_client_ending() const {
  if (auto failure = internal_failure(*client_, "client")) return *std::move(failure);
  const std::string error = client_->error();
  if (error.empty()) return {.reason = Reason::client_closed};
  return {.reason = Reason::client_lost, .detail = error};
}

SideEnd Session::client_end() const {
  return {.in_message = relay_->in_message_to_server(),
          .was_announced = relay_->client_terminated(),
          .close_notify = client_->close_notify()};
}

SideEnd Session::server_end() const {
  return {.in_message = relay_->in_message_to_client(),
          .was_announced = relay_->server_gave_up(),
          .close_notify = server_->close_notify()};
}

Ending Session::timeout_ending() const {
  if (phase_ != Phase::log_in) return {.reason = Reason::startup_timeout};
  if (!server_has_spoken_) return link_->timed_out("answer the StartupMessage");
  return {.reason = Reason::login_timeout,
          .detail = "The login was not complete within limits.startup_timeout.",
          .hint = "Answer the server's password request in time, or raise limits.startup_timeout."};
}

// Whether it is known what the client wanted.
bool Session::has_startup() const {
  return phase_ > Phase::read_startup && phase_ < Phase::forward_cancel;
}

// Once a session, when it is known how its login went.
void Session::audit(const Ending* refusal) {
  if (!record_ || std::exchange(record_->is_audited, true)) return;
  log_audit(*record_, refusal);
}

// Whether an ErrorResponse would be read as one.
bool Session::client_expects_message() const {
  switch (phase_) {
    case Phase::accept_tls:
    case Phase::forward_cancel: return false;  // such a client takes any byte for a failure
    case Phase::relay: return relay_->at_client_boundary();
    default: return true;
  }
}

// Whether it was told anything.
bool Session::tell_client(const Ending& ending) {
  const ReasonInfo& reason = describe(ending.reason);
  if (reason.sqlstate.empty() || !client_expects_message()) return false;
  // Before its StartupMessage a client cannot read an error; it just finds the connection closed.
  const bool has_asked = phase_ != Phase::negotiate && phase_ != Phase::read_startup;
  if (ending.reason == Reason::shutting_down && !has_asked) return false;
  // The server's own last words stand.
  if (phase_ == Phase::relay && relay_->server_gave_up()) return false;
  const std::string message = ending.message.empty() ? std::string(reason.message) : ending.message;
  protocol::Bytes error;
  if (negotiation_ && negotiation_->wants_old_error()) {
    protocol::encode_old_error_response(message, error);
  } else {
    protocol::ErrorFields fields{.severity = "FATAL",
                                 .sqlstate = std::string(reason.sqlstate),
                                 .message = message,
                                 .detail = {},
                                 .hint = {}};
    // Over the network the client gets the sentence only; the rest stands in the log.
    if (client_is_local_) {
      fields.detail = ending.detail;
      fields.hint = ending.hint;
    }
    protocol::encode_error_response(fields, error);
  }
  client_->write(host_.scratch(), error);
  return true;
}

// Gives back what the session holds of what is shared.
void Session::leave() {
  if (std::exchange(in_session_, false)) host_.leave_session();
  if (std::exchange(in_cancel_, false)) host_.leave_cancel();
  if (cancel_key_) {
    host_.cancel_routes().remove(*cancel_key_);
    wipe_away(cancel_key_->key);
    cancel_key_.reset();
  }
}

// A client that is refused counts until its connection is closed: until then it takes memory.
void Session::leave_newcomers() {
  if (std::exchange(is_newcomer_, false)) host_.leave_newcomers();
}

// An established session keeps nothing of how it began.
void Session::forget_login() {
  wipe_away(client_in_);
  wipe_away(server_in_);
  answer_deadline_.reset();
  login_.reset();
  link_.reset();
  negotiation_.reset();
  accepting_ = nullptr;
  handshake_turn_.reset();
  client_name_.reset();
  audit_pause_.reset();
  startup_ = {};
}

std::string_view name_of(Session::Phase phase) {
  switch (phase) {
    case Session::Phase::negotiate: return "negotiate";
    case Session::Phase::accept_tls: return "accept_tls";
    case Session::Phase::read_startup: return "read_startup";
    case Session::Phase::authorize: return "authorize";
    case Session::Phase::connect: return "connect";
    case Session::Phase::verify_upstream: return "verify_upstream";
    case Session::Phase::log_in: return "log_in";
    case Session::Phase::relay: return "relay";
    case Session::Phase::forward_cancel: return "forward_cancel";
    case Session::Phase::closing: return "closing";
    case Session::Phase::closed: return "closed";
  }
  return "?";
}

}  // namespace pgveil::proxy
