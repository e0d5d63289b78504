#include "proxy/session/session_context.h"

#include <fmt/format.h>

#include <utility>

namespace pgveil::proxy {

std::unique_ptr<UpstreamLink> SessionContext::dial(std::shared_ptr<const Upstream> upstream,
                                                   std::shared_ptr<const tls::ClientContext> tls,
                                                   Course course) const {
  return std::make_unique<UpstreamLink>(services.for_links(), std::move(upstream), std::move(tls), owner,
                                        deadline.left().value_or(std::chrono::milliseconds(0)),
                                        std::move(course));
}

void SessionContext::note_server(const UpstreamLink& link) {
  if (link.server()) observer.note_server(link.server()->address.text());
}

Ending lost_client_ending(const Stream& client) {
  if (auto failure = internal_failure(client, "client")) return *std::move(failure);
  const std::string error = client.error();
  if (error.empty()) return {.reason = Reason::client_closed};
  return {.reason = Reason::client_lost, .detail = error};
}

std::optional<Ending> internal_failure(const Stream& stream, std::string_view side) {
  const auto* failure = stream.tls_failure();
  if (failure == nullptr || failure->failure != tls::Failure::internal_error) return std::nullopt;
  return Ending{
      .reason = Reason::internal_error,
      .detail = fmt::format("OpenSSL failed to encrypt or decrypt for the {}: {}.", side, failure->reason)};
}

}  // namespace pgveil::proxy
