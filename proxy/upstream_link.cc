#include "proxy/upstream_link.h"

#include "proxy/identity.h"
#include "proxy/upstream_failure.h"

namespace pgveil::proxy {
namespace {

// One byte is all that may come before the handshake; a second one is read only to be told from silence.
constexpr std::size_t kGreetingBytes = 2;
// Of a server that is to be silent: room for what TLS itself may say.
constexpr std::size_t kSilenceBytes = 16'384;

}  // namespace

UpstreamLink::UpstreamLink(uv_loop_t* loop, HandshakeTurns& turns, const Upstream& upstream,
                           std::shared_ptr<const tls::ClientContext> tls, Wakeable& owner,
                           std::optional<ServerAddress> only)
    : upstream_(upstream),
      context_(std::move(tls)),
      owner_(&owner),
      connector_(loop, upstream.config, *this, std::move(only)),
      connect_deadline_(loop, *this),
      turn_(turns, *this) {}

UpstreamLink::State UpstreamLink::advance(Scratch& scratch) {
  for (;;) {
    Step next = step_;
    if (connect_deadline_.passed() && step_ != Step::done && step_ != Step::failed) {
      next = next_address("timeout expired");
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

void UpstreamLink::hand_to(Wakeable& owner) {
  owner_ = &owner;
  watched_->set_owner(owner);
}

std::optional<Ending> UpstreamLink::broken_silence(Scratch& scratch) {
  Stream& stream = tls_stream_ ? static_cast<Stream&>(*tls_stream_) : *socket_;
  switch (stream.read(scratch, kSilenceBytes).status) {
    case Stream::Status::blocked: return std::nullopt;  // TLS may have had something to tell, as a ticket
    case Stream::Status::bytes:
      return Ending{.reason = Reason::upstream_protocol_violation,
                    .detail = "The server spoke before it was asked anything."};
    case Stream::Status::ended:
    case Stream::Status::failed: break;
  }
  if (const auto* failure = stream.tls_failure()) return tls_ending(*server_, *failure);
  return Ending{
      .reason = Reason::upstream_lost,
      .detail = "Server at " + server_->address.text() + " closed a connection that waited for its session.",
      .hint = "Unless it was restarted: prewarm_max_age must be below its authentication_timeout."};
}

void UpstreamLink::close(Scratch& scratch) {
  if (step_ == Step::done && tls_stream_) tls_stream_->finish(scratch);
}

std::unique_ptr<Stream> UpstreamLink::take_stream() {
  if (tls_stream_) return std::move(tls_stream_);
  return std::move(socket_);
}

Ending UpstreamLink::timed_out() const {
  Ending ending{.reason = Reason::upstream_timed_out};
  if (server_) {
    ending.detail = "Server at " + server_->address.text() +
                    (step_ == Step::connect ? " did not take the connection in time."
                     : step_ == Step::greet ? " took the connection but did not answer in time."
                                            : " did not complete the TLS handshake in time.");
  } else {
    ending.detail = "The host name was not resolved in time.";
  }
  ending.hint = "Check the way to the server, or allow more time with connect_timeout and startup_timeout.";
  return ending;
}

UpstreamLink::Step UpstreamLink::connect(Scratch& scratch) {
  const auto state = connector_.advance();
  if (connector_.attempts() != timed_attempt_) {
    timed_attempt_ = connector_.attempts();
    connect_deadline_.set(upstream_.config.connect_timeout);
  }
  switch (state) {
    case Connector::State::connecting: return Step::connect;
    case Connector::State::failed: return fail(connector_.failure());
    case Connector::State::connected: break;
  }
  server_ = connector_.server();
  auto socket = connector_.take_socket();
  const int descriptor = socket.descriptor.get();
  socket_ = std::make_unique<SocketStream>(std::move(socket), *owner_, false);
  watched_ = socket_.get();
  if (server_->address.is_unix() && !upstream_.config.requirepeer.empty()) {
    const std::string user = peer_user(descriptor);
    if (user != upstream_.config.requirepeer)
      return fail(wrong_peer(*server_, upstream_.config.requirepeer, user));
  }
  if (!wants_tls()) return finish();
  if (upstream_.config.sslnegotiation == SslNegotiation::direct) return begin_tls();
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
    case Stream::Status::failed: return fail(closed_before_greeting(*server_, socket_->error()));
    case Stream::Status::bytes: break;
  }
  const auto answer = greeting_.receive(read.bytes);
  if (answer == protocol::UpstreamGreeting::Answer::more) return Step::greet;
  if (answer == protocol::UpstreamGreeting::Answer::accepted) return begin_tls();
  return fail(refused_greeting(*server_, answer, greeting_.answer_byte()));
}

UpstreamLink::Step UpstreamLink::begin_tls() {
  auto engine = tls::Engine::to_server(
      context_, {.host = server_->host.host,
                 .send_sni = upstream_.config.sslsni,
                 .require_alpn = upstream_.config.sslnegotiation == SslNegotiation::direct});
  tls_stream_ = std::make_unique<TlsStream>(std::move(socket_), std::move(engine));
  handshake_begun_ = false;
  return Step::shake_hands;
}

UpstreamLink::Step UpstreamLink::shake_hands(Scratch& scratch) {
  if (handshake_begun_ && !tls_stream_->readable()) return Step::shake_hands;
  if (!turn_.take()) {
    if (turn_.is_in_a_crowd()) tls_stream_->pause_reading();
    return Step::shake_hands;
  }
  tls_stream_->resume_reading();
  handshake_begun_ = true;
  switch (tls_stream_->shake_hands(scratch)) {
    case TlsStream::Handshake::waiting: return Step::shake_hands;
    case TlsStream::Handshake::failed: return fail(tls_ending(*server_, tls_stream_->failure()));
    case TlsStream::Handshake::done: break;
  }
  tls_ = tls_stream_->take_established();
  return finish();
}

UpstreamLink::Step UpstreamLink::finish() {
  connect_deadline_.clear();
  return Step::done;
}

// libpq goes on to the next address when one does not answer in time, but not after it answered wrongly.
UpstreamLink::Step UpstreamLink::next_address(const std::string& why) {
  connect_deadline_.clear();
  watched_ = nullptr;
  tls_stream_.reset();
  socket_.reset();
  return connector_.skip_address(why) ? Step::connect : fail(timed_out());
}

UpstreamLink::Step UpstreamLink::fail(Ending ending) {
  failure_ = std::move(ending);
  return Step::failed;
}

bool UpstreamLink::wants_tls() const {
  return !server_->address.is_unix() && upstream_.config.sslmode == SslMode::verify_full;
}

}  // namespace pgveil::proxy
