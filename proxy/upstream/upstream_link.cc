#include "proxy/upstream/upstream_link.h"

#include <algorithm>
#include <new>

#include "proxy/base/unix_peer.h"
#include "proxy/upstream/upstream_failure.h"

namespace pgveil::proxy {
namespace {

// Only one byte may be received before the handshake. The second byte is read only to detect that more was
// sent.
constexpr std::size_t kGreetingBytes = 2;
// The size of a read that should return no data: it has room for messages of TLS itself.
constexpr std::size_t kSilenceBytes = 16'384;
// Keepalive times of a connection that waits for a session: a lost host is detected after six seconds.
constexpr KeepaliveTimes kCloseWatch{.idle = 3, .interval = 1, .count = 3};

}  // namespace

UpstreamLink::UpstreamLink(const LinkServices& services, std::shared_ptr<const Upstream> upstream,
                           std::shared_ptr<const tls::ClientContext> tls, Wakeable& owner,
                           std::chrono::milliseconds budget, Course course, protocol::Bytes proxy_header)
    : loop_(services.loop),
      upstream_(std::move(upstream)),
      context_(std::move(tls)),
      proxy_header_(std::move(proxy_header)),
      owner_(&owner),
      counts_for_status_(context_ == upstream_->tls && !course.only),
      connector_(loop_, services.resolver, upstream_->config, *this, std::move(course)),
      connect_deadline_(loop_, *this),
      slot_(services.handshake_queue, *this),
      until_(time_now() + std::max(budget, std::chrono::milliseconds(0))) {}

UpstreamLink::State UpstreamLink::advance(Scratch& scratch) {
  for (;;) {
    Step next = step_;
    if (connect_deadline_.passed() && step_ != Step::done && step_ != Step::failed) {
      next = next_address(Connector::Failed::timed_out, pending(""));
    } else {
      switch (step_) {
        case Step::connect: next = connect(scratch); break;
        case Step::greet: next = greet(scratch); break;
        case Step::shake_hands: next = shake_hands(scratch); break;
        case Step::done: return State::established;
        case Step::failed: return State::failed;
      }
      if (next == step_) return step_ == Step::shake_hands ? State::verifying : State::connecting;
    }
    step_ = next;
  }
}

void UpstreamLink::watch_closely() {
  if (server()->address.is_unix() || !upstream_->config.keepalives) return;
  usual_keepalive_ = keepalive_times(watched_->descriptor());
  set_keepalive_times(watched_->descriptor(),
                      {.idle = std::min(usual_keepalive_->idle, kCloseWatch.idle),
                       .interval = std::min(usual_keepalive_->interval, kCloseWatch.interval),
                       .count = std::min(usual_keepalive_->count, kCloseWatch.count)});
}

void UpstreamLink::hand_to(Wakeable& owner) {
  if (usual_keepalive_) set_keepalive_times(watched_->descriptor(), *usual_keepalive_);
  usual_keepalive_.reset();
  owner_ = &owner;
  watched_->set_owner(owner);
}

std::optional<Ending> UpstreamLink::broken_silence(Scratch& scratch) {
  Stream& stream = tls_stream_ ? static_cast<Stream&>(*tls_stream_) : *socket_;
  switch (stream.read(scratch, kSilenceBytes).status) {
    case Stream::Status::blocked: return std::nullopt;  // TLS may have read a message, such as a ticket
    case Stream::Status::bytes:
      return Ending{.reason = Reason::upstream_protocol_violation,
                    .detail = "The server spoke before it was asked anything."};
    case Stream::Status::ended:
    case Stream::Status::failed: break;
  }
  if (const auto* failure = stream.tls_failure()) return tls_ending(*server(), *failure);
  return Ending{
      .reason = Reason::upstream_lost,
      .detail = "Server at " + server()->address.text() + " closed a connection that waited for its session.",
      .hint = "If the server was not restarted, set preconnect_max_age below its authentication_timeout."};
}

void UpstreamLink::close(Scratch& scratch) {
  try {
    if (step_ == Step::done && tls_stream_) tls_stream_->finish(scratch, Stream::Finish::complete);
  } catch (const std::bad_alloc&) {
    return;  // the server sees an end without close_notify
  }
}

std::unique_ptr<Stream> UpstreamLink::take_stream() {
  if (tls_stream_) return std::move(tls_stream_);
  return std::move(socket_);
}

std::chrono::milliseconds UpstreamLink::patience() const {
  if (connector_.attempts_left() <= 1) return std::chrono::milliseconds(0);
  return share();
}

bool UpstreamLink::leave_address(Connector::Failed how, const std::string& what) {
  if (connector_.attempts_left() <= 1) return false;
  start_over();
  static_cast<void>(connector_.skip_address(how, what));
  step_ = Step::connect;
  return true;
}

bool UpstreamLink::leave_host(const std::string& what) {
  if (!connector_.skip_host(what)) return false;
  start_over();
  step_ = Step::connect;
  return true;
}

Ending UpstreamLink::timed_out(std::string_view owed) const {
  const std::string last = connector_.describe_attempt(pending(owed));
  return connector_.failure(Connector::Failed::timed_out,
                            report() + (report().empty() || last.empty() ? "" : " ") + last);
}

Ending UpstreamLink::hung_up(const std::string& what) const {
  return connector_.failure(Connector::Failed::refused,
                            report() + (report().empty() ? "" : " ") + connector_.describe_attempt(what));
}

// Returns what the current attempt is waiting for.
std::string UpstreamLink::pending(std::string_view owed) const {
  switch (step_) {
    case Step::connect: return "no answer in time";
    case Step::greet: return "it took the connection, but did not answer the request for TLS in time";
    case Step::shake_hands: return "it took the connection, but did not complete the TLS handshake in time";
    case Step::done:
    case Step::failed: break;
  }
  return "the server did not " + std::string(owed) + " in time";
}

UpstreamLink::Step UpstreamLink::connect(Scratch& scratch) {
  const auto state = connector_.advance();
  if (connector_.attempts() != timed_attempt_) {
    timed_attempt_ = connector_.attempts();
    connect_deadline_.set(connector_.attempts_left() > 1 ? share() : upstream_->config.connect_timeout);
  }
  switch (state) {
    case Connector::State::connecting: return Step::connect;
    case Connector::State::failed: return fail(connector_.failure());
    case Connector::State::connected: break;
  }
  auto socket = connector_.take_socket();
  const int descriptor = socket.descriptor.get();
  socket_ = std::make_unique<SocketStream>(std::move(socket), *owner_, false);
  watched_ = socket_.get();
  if (server()->address.is_unix() && !upstream_->config.requirepeer.empty()) {
    const std::string user = peer_user(descriptor);
    if (user != upstream_->config.requirepeer)
      return fail_at_server(wrong_peer(*server(), upstream_->config.requirepeer, user));
  }
  if (!proxy_header_.empty()) socket_->write(scratch, proxy_header_);
  if (!wants_tls()) return finish();
  if (upstream_->config.sslnegotiation == SslNegotiation::direct) return begin_tls();
  protocol::Bytes request;
  greeting_.begin(request);
  socket_->write(scratch, request);
  return Step::greet;
}

UpstreamLink::Step UpstreamLink::greet(Scratch& scratch) {
  if (!socket_->readable()) return Step::greet;
  const auto read = socket_->read(scratch, kGreetingBytes);
  switch (read.status) {
    case Stream::Status::blocked: return Step::greet;
    case Stream::Status::ended:
    case Stream::Status::failed:
      return next_address(Connector::Failed::refused,
                          "it closed the connection instead of answering the request for TLS" +
                              (socket_->error().empty() ? "" : " (" + socket_->error() + ")"));
    case Stream::Status::bytes: break;
  }
  const auto answer = greeting_.receive(read.bytes);
  if (answer == protocol::UpstreamGreeting::Answer::more) return Step::greet;
  if (answer == protocol::UpstreamGreeting::Answer::accepted) return begin_tls();
  return fail_at_server(refused_greeting(*server(), answer, greeting_.answer_byte()));
}

UpstreamLink::Step UpstreamLink::begin_tls() {
  auto engine = tls::Engine::to_server(
      context_, {.host = server()->host.host,
                 .send_sni = upstream_->config.sslsni,
                 .require_alpn = upstream_->config.sslnegotiation == SslNegotiation::direct});
  tls_stream_ = std::make_unique<TlsStream>(std::move(socket_), std::move(engine));
  handshake_begun_ = false;
  return Step::shake_hands;
}

UpstreamLink::Step UpstreamLink::shake_hands(Scratch& scratch) {
  if (handshake_begun_ && !tls_stream_->readable()) return Step::shake_hands;
  if (!slot_.take()) {
    if (slot_.is_in_a_crowd()) tls_stream_->pause_reading();
    return Step::shake_hands;
  }
  tls_stream_->resume_reading();
  handshake_begun_ = true;
  switch (tls_stream_->shake_hands(scratch)) {
    case TlsStream::Handshake::waiting: return Step::shake_hands;
    case TlsStream::Handshake::failed:
      if (tls_stream_->failure().failure == tls::Failure::unexpected_eof && may_hang_up())
        return next_address(Connector::Failed::refused, "it closed the connection during the TLS handshake");
      return fail_at_server(tls_ending(*server(), tls_stream_->failure()));
    case TlsStream::Handshake::done: break;
  }
  tls_ = std::make_shared<const tls::Established>(tls_stream_->take_established());
  return finish();
}

UpstreamLink::Step UpstreamLink::finish() {
  connect_deadline_.clear();
  if (counts_for_status_) upstream_->status->note_connected(server()->address, tls_);
  return Step::done;
}

// As libpq does, tries the next address if one does not reply in time, but not after a wrong reply. A server
// that closes the connection has not replied: a load balancer without servers does the same.
UpstreamLink::Step UpstreamLink::next_address(Connector::Failed how, const std::string& what) {
  start_over();
  return connector_.skip_address(how, what) ? Step::connect : fail(connector_.failure());
}

UpstreamLink::Step UpstreamLink::fail(Ending ending) {
  connect_deadline_.clear();
  failure_ = std::move(ending);
  note_failure(failure_);
  return Step::failed;
}

// How much time an attempt has depends on the client, and descriptors are pgveil's own.
void UpstreamLink::note_failure(const Ending& ending) const {
  const bool is_of_server =
      ending.reason != Reason::upstream_timed_out && ending.reason != Reason::out_of_resources;
  if (counts_for_status_ && is_of_server) upstream_->status->note_failed(ending.detail);
}

// Ends with the server's failure first, and then the failures of earlier attempts.
UpstreamLink::Step UpstreamLink::fail_at_server(Ending ending) {
  if (!report().empty()) ending.detail += " Earlier attempts: " + report();
  return fail(std::move(ending));
}

void UpstreamLink::start_over() {
  connect_deadline_.clear();
  watched_ = nullptr;
  tls_stream_.reset();
  socket_.reset();
  tls_.reset();
  greeting_ = {};
}

// Returns the current attempt's share of the remaining time.
std::chrono::milliseconds UpstreamLink::share() const {
  const auto left = std::max(until_ - time_now(), std::chrono::milliseconds(0));
  const auto attempts = static_cast<std::int64_t>(connector_.attempts_left());
  const auto part = std::max(left / attempts, std::chrono::milliseconds(1));
  const auto most = upstream_->config.connect_timeout;
  return most.count() == 0 ? part : std::min(part, most);
}

// Servers before PostgreSQL 17 close a connection on which TLS begins directly. If there is no other server,
// the operator must get that error.
bool UpstreamLink::may_hang_up() const {
  return upstream_->config.sslnegotiation != SslNegotiation::direct || connector_.attempts_left() > 1;
}

bool UpstreamLink::wants_tls() const {
  return !server()->address.is_unix() && upstream_->config.sslmode == SslMode::verify_full;
}

}  // namespace pgveil::proxy
