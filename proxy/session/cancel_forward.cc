#include "proxy/session/cancel_forward.h"

#include <utility>

#include "proxy/session/session_bytes.h"
#include "proxy/upstream/upstream_failure.h"

namespace pgveil::proxy {
namespace {

constexpr std::chrono::seconds kCancelTimeout{10};

}  // namespace

// A request with a key that this process has not stored goes to the upstream's server if there is only one: another
// replica of pgveil may have relayed the session.
tl::expected<std::unique_ptr<CancelForward>, Ending> CancelForward::begin(
    SessionContext& context, protocol::CancelRequest request, const ClientConnection& connection) {
  const ListenerPolicy& policy = context.policy();
  if (policy.config.plaintext_cancel == PlaintextCancel::deny && policy.tls && connection.tls == nullptr)
    return tl::unexpected(Ending{.reason = Reason::plaintext_cancel_denied});
  const auto route = context.services.shared.cancel_routes.find(request);
  if (!route && policy.upstream->config.hosts.size() != 1)
    return tl::unexpected(Ending{.reason = Reason::cancel_unknown});
  if (!context.registration.enter_cancel()) return tl::unexpected(Ending{.reason = Reason::too_many_cancels});
  context.client->pause_reading();
  context.deadline.set(kCancelTimeout);
  const auto& upstream = route ? route->upstream : policy.upstream;
  Course course;
  if (route) course.only = route->server;
  auto link = context.dial(upstream, upstream->tls, connection, std::move(course));
  // NOLINTNEXTLINE(cppcoreguidelines-owning-memory): the constructor is private
  return std::unique_ptr<CancelForward>(new CancelForward(context, std::move(request), std::move(link)));
}

CancelForward::CancelForward(SessionContext& context, protocol::CancelRequest request,
                             std::unique_ptr<UpstreamLink> link)
    : context_(context), request_(std::move(request)), link_(std::move(link)) {}

CancelForward::~CancelForward() {
  wipe_away(request_.key);
}

// Closes the client's connection only after the server has closed its own. Before that, the server may not have sent
// the signal yet, and it would cancel the client's next statement (fe-cancel.c).
std::optional<Ending> CancelForward::advance() {
  if (context_.deadline.passed()) {
    context_.note_server(*link_);
    return link_->timed_out("close the connection after the cancel request");
  }
  if (!server_)
    if (auto ending = connect()) return ending;
  if (!server_) return std::nullopt;
  for (int reads = 0; may_read(*server_, reads); ++reads) {
    const auto status = server_->read(context_.scratch(), kStartupReadBytes).status;
    if (status == Stream::Status::blocked) break;
    if (status == Stream::Status::ended) return forwarded_ending();
    if (status == Stream::Status::failed) return broken_ending();
  }
  return std::nullopt;
}

// The reason is the same without close_notify: the server may be a pooler, which closes as it likes.
Ending CancelForward::forwarded_ending() const {
  Ending ending{.reason = Reason::cancel_forwarded};
  if (server_->close_notify() == Stream::CloseNotify::missing)
    ending.detail =
        "The server closed the connection without close_notify: it may not have read the request.";
  return ending;
}

// Returns the ending for a server that did not close in the regular way. PostgreSQL closes without a reset, so the server may
// not have processed the request. A server of TLS 1.3 may refuse pgveil's certificate only now.
Ending CancelForward::broken_ending() const {
  if (const auto* failure = server_->tls_failure()) return tls_ending(*link_->server(), *failure);
  return {.reason = Reason::upstream_lost,
          .detail = "The connection broke after the cancel request: " + server_->error() + ".",
          .hint = "Look into the server's log."};
}

// Sends the request once the server is verified.
std::optional<Ending> CancelForward::connect() {
  const auto state = link_->advance(context_.scratch());
  if (state != UpstreamLink::State::connecting) context_.note_server(*link_);
  if (state == UpstreamLink::State::failed) return link_->failure();
  if (state != UpstreamLink::State::established) return std::nullopt;
  context_.observer.note_server_tls(link_->tls());
  server_ = link_->take_stream();
  protocol::Bytes packet;
  protocol::encode_cancel_request(request_, packet);
  server_->write(context_.scratch(), packet);
  wipe_away(packet);
  return std::nullopt;
}

std::unique_ptr<Stream> CancelForward::release_server() {
  link_->close(context_.scratch());
  return std::move(server_);
}

}  // namespace pgveil::proxy
