#include "proxy/session/session_context.h"

#include <fmt/format.h>

#include <utility>

namespace pgveil::proxy {
namespace {

// Returns the common name that HAProxy sends: the first one. A name with a NUL could be read as another name.
std::string_view common_name_of(const tls::PeerCertificate& certificate) {
  if (certificate.common_names.empty() || !certificate.subject_is_text) return {};
  return certificate.common_names.front();
}

protocol::Bytes proxy_header(const protocol::ProxyHeader& addresses, const tls::Established* client_tls) {
  std::optional<protocol::ProxyTls> tls;
  if (client_tls != nullptr)
    tls = protocol::ProxyTls{
        .version = client_tls->version,
        .cipher = client_tls->cipher,
        .protocol = client_tls->alpn_agreed ? tls::kAlpnProtocol : "",
        .server_name = client_tls->server_name,
        .has_certificate = client_tls->peer.has_value(),
        .common_name = client_tls->peer ? common_name_of(*client_tls->peer) : std::string_view()};
  protocol::Bytes header;
  protocol::encode_proxy_header(addresses, tls, header);
  return header;
}

}  // namespace

std::unique_ptr<UpstreamLink> SessionContext::dial(std::shared_ptr<const Upstream> upstream,
                                                   std::shared_ptr<const tls::ClientContext> tls,
                                                   const ClientConnection& client_connection,
                                                   Course course) const {
  protocol::Bytes header;
  if (upstream->config.send_proxy_protocol)
    header = proxy_header(origin.header_for_server(client_connection.destination, client->local_address()),
                          client_connection.tls);
  return std::make_unique<UpstreamLink>(services.for_links(), std::move(upstream), std::move(tls), owner,
                                        deadline.left().value_or(std::chrono::milliseconds(0)),
                                        std::move(course), std::move(header));
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
