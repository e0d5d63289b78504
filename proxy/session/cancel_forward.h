// The stage of a client that has sent a CancelRequest. The request is forwarded to the server of the session that its
// key belongs to.
#pragma once

#include <memory>
#include <optional>
#include <tl/expected.hpp>

#include "protocol/startup.h"
#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"
#include "proxy/upstream/upstream_link.h"

namespace pgveil::proxy {

class CancelForward final : public Stage {
 public:
  // Begins to connect to the server, or returns why the request is not forwarded. `connection`: the one in which the request
  // arrived.
  [[nodiscard]] static tl::expected<std::unique_ptr<CancelForward>, Ending> begin(
      SessionContext& context, protocol::CancelRequest request, const ClientConnection& connection);
  ~CancelForward() override;

  // Returns how the session ends, or nullopt while the request is being forwarded.
  [[nodiscard]] std::optional<Ending> advance();

  // A client that sent a CancelRequest treats any byte that it receives as a failure.
  [[nodiscard]] ErrorFormat error_format() const override { return ErrorFormat::none; }
  [[nodiscard]] std::unique_ptr<Stream> release_server() override;

 private:
  CancelForward(SessionContext& context, protocol::CancelRequest request, std::unique_ptr<UpstreamLink> link);
  [[nodiscard]] std::optional<Ending> connect();
  [[nodiscard]] Ending forwarded_ending() const;
  [[nodiscard]] Ending broken_ending() const;

  SessionContext& context_;
  protocol::CancelRequest request_;
  std::unique_ptr<UpstreamLink> link_;
  std::unique_ptr<Stream> server_;  // null: not connected yet
};

}  // namespace pgveil::proxy
