#include "proxy/session/client_opening.h"

#include <utility>

#include "protocol/proxy_header.h"
#include "proxy/session/client_tls_failure.h"
#include "proxy/session/session_bytes.h"
#include "proxy/session/startup_parameters.h"

namespace pgveil::proxy {
namespace {

protocol::NegotiationPolicy negotiation_policy(const ListenerPolicy& listener) {
  const bool takes_tls = listener.tls != nullptr;
  return {.tls = takes_tls, .direct_tls = takes_tls, .user_may_be_missing = listener.rules.may_assign()};
}

}  // namespace

ClientOpening::ClientOpening(SessionContext& context, std::string unix_user)
    : context_(context),
      negotiation_(negotiation_policy(context.policy())),
      unix_user_(std::move(unix_user)),
      awaits_proxy_header_(context.policy().config.proxy_protocol_from.contains(context.origin.address())) {
  context_.deadline.set(context_.limits().startup_timeout);
}

ClientOpening::State ClientOpening::advance() {
  if (context_.deadline.passed())
    return fail({.reason = Reason::startup_timeout,
                 .detail = awaits_proxy_header_ && (has_sent_ || context_.policy().config.proxy_protocol ==
                                                                     ProxyProtocol::required)
                               ? "The PROXY header did not arrive."
                               : ""});
  const State next = state_ == State::accepting_tls ? accept_tls() : negotiate();
  if (next != State::failed) state_ = next;
  return next;
}

ClientOpening::State ClientOpening::negotiate() {
  for (;;) {
    if (awaits_proxy_header_)
      if (auto refusal = take_proxy_header()) return fail(*std::move(refusal));
    if (!awaits_proxy_header_)
      if (const auto state = take_packet()) return *state;
    if (!context_.client->readable()) return state_;
    const auto read = context_.client->read(context_.scratch(), kStartupReadBytes);
    switch (read.status) {
      case Stream::Status::blocked: return state_;
      case Stream::Status::bytes: break;
      case Stream::Status::failed:
      case Stream::Status::ended: return fail(early_leave());
    }
    has_sent_ = true;
    context_.observer.note_received(read.bytes.size());
    unread_.insert(unread_.end(), read.bytes.begin(), read.bytes.end());
  }
}

// Reads the PROXY header of a trusted proxy, once it is there. From here on the client is the one that it names: the
// process at the other end of a Unix socket is that of the proxy, and says nothing about the client.
std::optional<Ending> ClientOpening::take_proxy_header() {
  if (unread_.empty()) return std::nullopt;
  const bool is_optional = context_.policy().config.proxy_protocol == ProxyProtocol::optional;
  if (is_optional && !protocol::begins_proxy_header(unread_.front())) {
    awaits_proxy_header_ = false;
    return std::nullopt;
  }
  protocol::ByteReader in(unread_);
  const auto header = protocol::decode_proxy_header(in);
  if (!header) return invalid_proxy_header(std::string(protocol::describe(header.error())));
  if (!header->has_value()) return std::nullopt;
  consume(unread_, in);
  awaits_proxy_header_ = false;
  has_sent_ = !unread_.empty();
  unix_user_.clear();
  context_.observer.note_identity("");
  const std::string proxy = context_.origin.address().text();
  context_.origin.apply(**header);
  if (!(*header)->addresses) return std::nullopt;
  destination_ = (*header)->addresses->destination;
  context_.observer.note_proxied(context_.origin.address().text(), proxy);
  return std::nullopt;
}

// Passes the bytes that have arrived to the negotiation. nullopt: it needs more.
std::optional<ClientOpening::State> ClientOpening::take_packet() {
  using Event = protocol::Negotiation::Event;
  protocol::ByteReader in(unread_);
  protocol::Bytes answer;
  const auto event = negotiation_.advance(in, answer);
  consume(unread_, in);
  if (!answer.empty()) context_.client->write(context_.scratch(), answer);
  switch (event) {
    case Event::startup: return State::startup;
    case Event::cancel: return State::cancel;
    case Event::accept_tls: return begin_tls();
    case Event::failed: return fail(failed_negotiation());
    case Event::more: break;
  }
  return std::nullopt;
}

// Bytes that were read after the SSLRequest, or as direct TLS, are passed to the handshake only.
ClientOpening::State ClientOpening::begin_tls() {
  auto engine = tls::Engine::to_client(context_.policy().tls, negotiation_.direct_tls());
  auto stream = std::make_unique<TlsStream>(std::move(context_.client), std::move(engine),
                                            protocol::Bytes(std::exchange(unread_, UnreadBytes())));
  accepting_ = stream.get();
  context_.client = std::move(stream);
  handshake_slot_.emplace(context_.services.handshake_queue, context_.owner);
  return State::accepting_tls;
}

ClientOpening::State ClientOpening::accept_tls() {
  if (!accepting_->readable()) return State::accepting_tls;
  if (!handshake_slot_->take()) {
    if (handshake_slot_->is_in_a_crowd()) accepting_->pause_reading();
    return State::accepting_tls;
  }
  accepting_->resume_reading();
  switch (accepting_->shake_hands(context_.scratch())) {
    case TlsStream::Handshake::waiting: return State::accepting_tls;
    case TlsStream::Handshake::failed:
      context_.observer.note_refused_certificate(accepting_->failure().peer);
      context_.observer.note_failed_client_handshake(accepting_->failure());
      return fail(failed_handshake());
    case TlsStream::Handshake::done: break;
  }
  return finish_handshake();
}

ClientOpening::State ClientOpening::finish_handshake() {
  handshake_slot_.reset();
  tls_ = std::make_shared<const tls::Established>(accepting_->take_established());
  context_.observer.note_client_tls(tls_);
  if (tls_->peer) context_.observer.note_identity(tls_->peer->subject);
  negotiation_.tls_established();
  return State::reading_startup;
}

bool ClientOpening::waits_for_client() const {
  return state_ == State::accepting_tls ? !accepting_->readable() : !context_.client->readable();
}

OpenedClient ClientOpening::take_client() {
  OpenedClient client{.startup = negotiation_.take_startup(),
                      .tls = tls_,
                      .destination = destination_,
                      .unix_user = std::move(unix_user_),
                      .unread = std::move(unread_)};
  set_database(client.startup, context_.policy().config);
  return client;
}

ErrorFormat ClientOpening::error_format() const {
  // A client in its handshake treats an ErrorResponse in plain text as a failure of TLS.
  if (state_ == State::accepting_tls) return ErrorFormat::none;
  return negotiation_.wants_old_error() ? ErrorFormat::protocol_2 : ErrorFormat::protocol_3;
}

ClientOpening::State ClientOpening::fail(Ending ending) {
  ending_ = std::move(ending);
  return State::failed;
}

// Returns the ending for a client that closed its connection before its StartupMessage, or whose first record after
// the handshake cannot be read.
Ending ClientOpening::early_leave() const {
  if (awaits_proxy_header_ && has_sent_)
    return invalid_proxy_header("The connection was closed inside the header.");
  std::string certificate;
  if (tls_)
    certificate =
        context_.policy().tls->shown_certificate_text(tls_->own_sha256_fingerprint, tls_->server_name);
  const Stream& client = *context_.client;
  if (const auto* failure = client.tls_failure()) {
    context_.observer.note_failed_client_handshake(*failure);
    return client_tls_ending(*failure, certificate);
  }
  return early_leave_ending({.error = client.error(),
                             .has_sent = has_sent_ || negotiation_.inside_tls(),
                             .inside_packet = !unread_.empty(),
                             .inside_tls = negotiation_.inside_tls(),
                             .declined = negotiation_.declined(),
                             .certificate = std::move(certificate)});
}

Ending ClientOpening::invalid_proxy_header(std::string detail) const {
  return {.reason = Reason::proxy_header_invalid,
          .detail = std::move(detail),
          .hint =
              "A client in proxy_protocol_from has to be a proxy that sends the header, as HAProxy does with "
              "send-proxy-v2."};
}

Ending ClientOpening::failed_handshake() const {
  Ending ending = client_tls_ending(accepting_->failure());
  const bool has_begun = accepting_->peer_has_spoken();
  if (accepting_->failure().failure == tls::Failure::unexpected_eof && !has_begun)
    ending.detail =
        "The client asked for TLS and left without a ClientHello, as libpq does if it cannot load "
        "sslrootcert or sslcert.";
  return ending;
}

Ending ClientOpening::failed_negotiation() const {
  using Failure = protocol::NegotiationFailure;
  Ending ending{.reason = Reason::protocol_violation,
                .message = negotiation_.failure_message(),
                .detail = std::string(negotiation_.failure_detail()),
                .hint = std::string(negotiation_.failure_hint())};
  switch (negotiation_.failure()) {
    case Failure::malformed_packet: return malformed_startup_ending(unread_, negotiation_.failure_message());
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

}  // namespace pgveil::proxy
