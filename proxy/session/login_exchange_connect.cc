// The connection of a LoginExchange to its server, up to the StartupMessage: the first attempt, and further ones with
// another server.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "proxy/session/login_exchange.h"
#include "proxy/session/session_bytes.h"

namespace pgveil::proxy {

// Uses the connection that was started early, if there is one; otherwise a pre-established one; otherwise
// dials. If the server is to see a certificate of the role, always dials.
LoginExchange::LoginExchange(SessionContext& context, AdmittedClient client,
                             std::unique_ptr<UpstreamLink> early)
    : context_(context),
      client_(std::move(client.client)),
      method_(client.method),
      upstream_(std::move(client.upstream)),
      denial_(std::move(client.denial)),
      link_(std::move(early)),
      kept_(std::move(client.kept)) {
  const bool is_for_admin_database = client.admin_database.get() >= 0;
  if (is_for_admin_database || client.tls_to_server != upstream_->tls) {
    if (link_) link_->close(context_.scratch());
    link_.reset();
  } else if (!link_) {
    link_ = context_.services.preconnected.take(upstream_, context_.owner);
    is_preconnected_ = link_ != nullptr;
    context_.observer.note_preconnected(is_preconnected_);
  }
  if (is_for_admin_database)
    link_ = link_to_admin_database(std::move(client.admin_database));
  else if (!link_)
    link_ = context_.dial(upstream_, std::move(client.tls_to_server), client_.connection());
}

std::unique_ptr<UpstreamLink> LoginExchange::link_to_admin_database(Descriptor connection) const {
  return context_.dial(upstream_, nullptr, {},
                       {.only = ServerAddress{.host = {}, .address = unnamed_unix_address()},
                        .connected = std::move(connection)});
}

LoginExchange::State LoginExchange::connect() {
  const bool is_late = context_.deadline.passed();
  if (is_late || context_.client->write_broken()) {
    context_.note_server(*link_);
    return fail(is_late ? link_->timed_out("take the connection") : lost_client_ending(*context_.client));
  }
  const auto state = link_->advance(context_.scratch());
  if (state != UpstreamLink::State::connecting) context_.note_server(*link_);
  switch (state) {
    case UpstreamLink::State::connecting: return State::connecting;
    case UpstreamLink::State::verifying: return State::verifying;
    case UpstreamLink::State::failed:
      if (const auto* failure = link_->tls_failure())
        context_.observer.note_failed_server_handshake(*failure);
      return fail(link_->failure());
    case UpstreamLink::State::established: return begin_login();
  }
  return State::connecting;
}

LoginExchange::State LoginExchange::begin_login() {
  context_.observer.note_server_tls(link_->tls());
  server_ = link_->take_stream();
  if (auto ending = check_shared_certificate()) return fail(*std::move(ending));
  context_.observer.note_earlier_attempts(link_->report());
  login_ = make_login();
  relay_ = std::make_unique<Relay>(*context_.client, *server_, context_.limits().relay_buffer);
  send_startup();
  if (const auto patience = this->patience(); patience.count() > 0) {
    answer_deadline_ = std::make_unique<Deadline>(context_.services.loop, context_.owner);
    answer_deadline_->set(patience);
  }
  if (login_->client_part() == Login::ClientPart::relayed) {
    client_was_early_ = !client_.unread.empty();
    pass_on_unread();
    context_.client->resume_reading();
  }
  return State::logging_in;
}

// Returns an ending if shared_certificate is on and the server's certificate is not the one that pgveil
// presented to the client. Channel binding from client to server works only if both connections use the same
// certificate.
std::optional<Ending> LoginExchange::check_shared_certificate() const {
  const auto& server_tls = link_->tls();
  if (!context_.policy().config.shared_certificate || !client_.tls || !server_tls) return std::nullopt;
  const std::string& shown = client_.tls->own_sha256_fingerprint;
  const std::string& seen = server_tls->peer->sha256_fingerprint;
  if (shown == seen) return std::nullopt;
  return Ending{
      .reason = Reason::upstream_certificate_not_shared,
      .detail = fmt::format("The listener shows the certificate with fingerprint {}, the server the one "
                            "with {}.",
                            shown, seen),
      .hint = "Give both the very same certificate file, or turn shared_certificate off."};
}

std::unique_ptr<Login> LoginExchange::make_login() const {
  return choose_login({.listener = context_.policy(),
                       .upstream = *upstream_,
                       .host = link_->server()->host,
                       .method = method_,
                       .user = std::string(client_.startup.user()),
                       .database = std::string(client_.startup.database()),
                       .client_tls = client_.tls.get(),
                       .server_tls = link_->tls().get(),
                       .denial = denial_},
                      context_.services.login, context_.owner);
}

// Sends a StartupMessage that is encoded again from its parsed form: the client's own bytes are never passed on.
void LoginExchange::send_startup() {
  protocol::Bytes startup;
  protocol::encode_startup_message(client_.startup, startup);
  server_->write(context_.scratch(), startup);
}

// Returns whether the login may start again with another server: nothing from this server has been passed on,
// and this server has received only the client's StartupMessage.
bool LoginExchange::may_begin_anew() const {
  return !server_was_heard_ && !client_was_early_ && relay_->bytes_to_server() == 0 &&
         server_->tls_failure() == nullptr;
}

// Returns how long the server may take until its first message, if another one can be tried after it; 0: no
// limit. The host of a pre-established connection may no longer exist, so the remaining time is divided for
// one more attempt.
std::chrono::milliseconds LoginExchange::patience() const {
  if (!is_preconnected_) return link_->patience();
  const UpstreamConfig& upstream = upstream_->config;
  const auto attempts = static_cast<std::int64_t>(upstream.hosts.size()) + 1;
  const auto share = context_.deadline.left().value_or(std::chrono::milliseconds(0)) / attempts;
  const auto most = upstream.connect_timeout;
  return std::max(std::chrono::milliseconds(1), most.count() == 0 ? share : std::min(share, most));
}

// Starts the login again after a failed attempt. Returns nullopt if there is no other server to try.
LoginExchange::Change LoginExchange::try_elsewhere(Connector::Failed how, const std::string& what,
                                                   bool whole_host) {
  if (is_preconnected_) return dial_again(how, what);
  const bool is_another = whole_host ? link_->leave_host(what) : link_->leave_address(how, what);
  if (!is_another) return std::nullopt;
  forget_attempt();
  return State::connecting;
}

// Dials after a pre-established connection has failed. Such a connection may have ended without notice, for
// example because the server was restarted or its host is gone. A server also refuses the StartupMessage on a
// connection that was made while the server started up, even after it has started.
LoginExchange::State LoginExchange::dial_again(Connector::Failed how, const std::string& what) {
  const auto& upstream = upstream_;
  const ServerAddress server = *link_->server();
  Course course{.earlier_attempts = link_->describe_attempt(what)};
  const bool is_timeout = how == Connector::Failed::timed_out;
  if (is_timeout) course.first_host = upstream->config.index_after(server.host);
  if (is_timeout || server_has_spoken_)
    context_.services.preconnected.distrust(
        upstream, server,
        {.reason = is_timeout ? Reason::upstream_timed_out : Reason::upstream_unreachable,
         .detail = course.earlier_attempts});
  forget_attempt();
  is_preconnected_ = false;
  context_.observer.note_preconnected(false);
  link_ = context_.dial(upstream, upstream->tls, client_.connection(), std::move(course));
  return State::connecting;
}

void LoginExchange::forget_attempt() {
  context_.client->pause_reading();
  answer_deadline_.reset();
  relay_.reset();
  login_.reset();
  server_.reset();
  wipe_away(unread_of_server_);
  server_has_spoken_ = server_was_heard_ = false;
  context_.observer.note_server_tls(nullptr);
  context_.observer.note_earlier_attempts("");
}

}  // namespace pgveil::proxy
