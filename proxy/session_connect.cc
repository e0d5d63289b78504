// The way of a session to its server: Phase::connect and Phase::verify_upstream, and what may begin before.
#include <utility>

#include "proxy/session.h"

namespace pgveil::proxy {

// Begins before the rules are asked, while the client still shakes hands. Nothing of the client's goes up,
// and the session counts from here on, so that there are never more connections to servers than sessions.
void Session::connect_early() {
  in_session_ = host_.enter_session();
  if (!in_session_) return;
  const Upstream& upstream = snapshot_->upstream_of(policy_.config);
  link_ = std::make_unique<UpstreamLink>(host_.loop(), host_.handshake_turns(), host_.resolver(), upstream,
                                         upstream.tls, *this);
}

// Where this comes to nothing, or the server speaks unasked, it is no news as yet: once the client has been
// let in, the server is dialled anew.
void Session::advance_early() {
  const auto state = link_->advance(host_.scratch());
  if (link_->server()) record_->server = link_->server()->address.text();
  if (state == UpstreamLink::State::failed ||
      (state == UpstreamLink::State::established && link_->broken_silence(host_.scratch())))
    link_.reset();
}

// By the way that has been begun, or by one that was made ahead. With a certificate of its role a session has
// to make its own.
void Session::dial(const Upstream& upstream, std::shared_ptr<const tls::ClientContext> context) {
  const bool is_everyones = context == upstream.tls;
  if (!is_everyones) drop_link();
  if (is_everyones && !link_) {
    link_ = host_.take_prewarmed(upstream, *this);
    record_->prewarmed = link_ != nullptr;
  }
  if (!link_)
    link_ = std::make_unique<UpstreamLink>(host_.loop(), host_.handshake_turns(), host_.resolver(), upstream,
                                           std::move(context), *this);
}

Session::Phase Session::connect() {
  if (deadline_.passed()) return end(link_->timed_out());
  if (client_->write_broken()) return end(lost_client_ending());
  const auto state = link_->advance(host_.scratch());
  if (link_->server()) record_->server = link_->server()->address.text();
  switch (state) {
    case UpstreamLink::State::connecting: return Phase::connect;
    case UpstreamLink::State::verifying: return Phase::verify_upstream;
    case UpstreamLink::State::failed: return end(link_->failure());
    case UpstreamLink::State::established: return begin_login();
  }
  return Phase::connect;
}

// A connection that was made ahead may have ended unnoticed, as when the server was just restarted. As long
// as that server has answered nothing and the client has told it nothing, the login can begin anew.
bool Session::may_dial_again() const {
  return record_->prewarmed && !server_has_spoken_ && !client_was_early_ && relay_->bytes_to_server() == 0 &&
         server_->tls_failure() == nullptr;
}

Session::Phase Session::dial_again() {
  client_->pause_reading();
  relay_.reset();
  login_.reset();
  server_.reset();
  record_->prewarmed = false;
  record_->server_tls.reset();
  const Upstream& upstream = snapshot_->upstream_of(policy_.config);
  link_ = std::make_unique<UpstreamLink>(host_.loop(), host_.handshake_turns(), host_.resolver(), upstream,
                                         upstream.tls, *this);
  return Phase::connect;
}

void Session::drop_link() {
  if (!link_) return;
  link_->close(host_.scratch());
  link_.reset();
}

}  // namespace pgveil::proxy
