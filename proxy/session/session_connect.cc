// The way of a session to its server: Phase::connect and Phase::verify_upstream, and what may begin before.
#include <algorithm>
#include <utility>

#include "proxy/session/session.h"
#include "proxy/session/session_bytes.h"

namespace pgveil::proxy {

// Begins before the rules are asked, while the client still shakes hands. Nothing of the client's goes up,
// and the session counts from here on, so that there are never more connections to servers than sessions.
void Session::connect_early() {
  in_session_ = host_.enter_session();
  if (!in_session_) return;
  link_ = new_link(policy().upstream, policy().upstream->tls);
}

// Where this comes to nothing, or the server speaks unasked, it is no news as yet: once the client has been
// let in, the server is dialled anew.
void Session::advance_early() {
  const auto state = link_->advance(host_.scratch());
  if (state != UpstreamLink::State::connecting) note_server();
  if (state == UpstreamLink::State::failed ||
      (state == UpstreamLink::State::established && link_->broken_silence(host_.scratch())))
    link_.reset();
}

// Uses the connection that was started early, if there is one; otherwise one that was made ahead; otherwise it dials. A
// session with a certificate of its role always dials.
void Session::dial(std::shared_ptr<const tls::ClientContext> context) {
  const auto& upstream = policy().upstream;
  const bool is_everyones = context == upstream->tls;
  if (!is_everyones) drop_link();
  if (is_everyones && !link_) {
    link_ = host_.take_prewarmed(upstream, *this);
    record_->prewarmed = link_ != nullptr;
  }
  if (!link_) link_ = new_link(upstream, std::move(context));
}

// All of its attempts together have what is left of the time.
std::unique_ptr<UpstreamLink> Session::new_link(std::shared_ptr<const Upstream> upstream,
                                                std::shared_ptr<const tls::ClientContext> context,
                                                Course course) {
  return std::make_unique<UpstreamLink>(host_.link_services(), std::move(upstream), std::move(context), *this,
                                        deadline_.left().value_or(std::chrono::milliseconds(0)),
                                        std::move(course));
}

// For the log and the audit. The text costs more than a round of connect() does, so it is made when a state
// ends.
void Session::note_server() {
  if (link_->server()) record_->server = link_->server()->address.text();
}

Session::Phase Session::connect() {
  const bool is_late = deadline_.passed();
  if (is_late || client_->write_broken()) {
    note_server();
    return end(is_late ? link_->timed_out("take the connection") : lost_client_ending());
  }
  const auto state = link_->advance(host_.scratch());
  if (state != UpstreamLink::State::connecting) note_server();
  switch (state) {
    case UpstreamLink::State::connecting: return Phase::connect;
    case UpstreamLink::State::verifying: return Phase::verify_upstream;
    case UpstreamLink::State::failed: return end(link_->failure());
    case UpstreamLink::State::established: return begin_login();
  }
  return Phase::connect;
}

// As long as nothing that the server said has been passed on, and nothing of the client's but its
// StartupMessage has gone up.
bool Session::may_begin_anew() const {
  return !server_was_heard_ && !client_was_early_ && relay_->bytes_to_server() == 0 &&
         server_->tls_failure() == nullptr;
}

// How long the server may take for its first word, if the login could begin anew with another one. A
// connection that was made ahead may lead to a host that is gone, so that there is one attempt more.
std::chrono::milliseconds Session::patience() const {
  if (!record_->prewarmed) return link_->patience();
  const UpstreamConfig& upstream = policy().upstream->config;
  const auto attempts = static_cast<std::int64_t>(upstream.hosts.size()) + 1;
  const auto share = deadline_.left().value_or(std::chrono::milliseconds(0)) / attempts;
  const auto most = upstream.connect_timeout;
  return std::max(std::chrono::milliseconds(1), most.count() == 0 ? share : std::min(share, most));
}

// Begins the login anew, after one that came to nothing. nullopt: there is no other server to try.
std::optional<Session::Phase> Session::try_elsewhere(Connector::Failed how, const std::string& what,
                                                     bool whole_host) {
  if (record_->prewarmed) return dial_again(how, what);
  const bool is_another = whole_host ? link_->leave_host(what) : link_->leave_address(how, what);
  if (!is_another) return std::nullopt;
  forget_attempt();
  return Phase::connect;
}

// A connection that was made ahead may have ended unnoticed, as when the server was just restarted, or its
// host is gone. A connection that was made while the server started up is refused even after that.
Session::Phase Session::dial_again(Connector::Failed how, const std::string& what) {
  const auto& upstream = policy().upstream;
  const ServerAddress server = *link_->server();
  Course course{.earlier_attempts = link_->describe_attempt(what)};
  const bool is_timeout = how == Connector::Failed::timed_out;
  if (is_timeout) course.first_host = upstream->config.index_after(server.host);
  if (is_timeout || server_has_spoken_)
    host_.distrust_prewarmed(
        upstream, server,
        {.reason = is_timeout ? Reason::upstream_timed_out : Reason::upstream_unreachable,
         .detail = course.earlier_attempts});
  forget_attempt();
  record_->prewarmed = false;
  link_ = new_link(upstream, upstream->tls, std::move(course));
  return Phase::connect;
}

void Session::forget_attempt() {
  client_->pause_reading();
  answer_deadline_.reset();
  relay_.reset();
  login_.reset();
  server_.reset();
  wipe_away(server_in_);
  server_has_spoken_ = server_was_heard_ = false;
  record_->server_tls.reset();
  record_->earlier_attempts.clear();
}

void Session::drop_link() {
  if (!link_) return;
  link_->close(host_.scratch());
  link_.reset();
}

}  // namespace pgveil::proxy
