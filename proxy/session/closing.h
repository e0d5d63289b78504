// The last stage of a session: what is still to be sent goes out, and both peers close.
#pragma once

#include <cstddef>
#include <memory>

#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

class Closing final : public Stage {
 public:
  explicit Closing(SessionContext& context) : context_(context) {}

  // Ends our side of both connections once everything is written; `server`: null if there is none. To be called once,
  // before advance(). `cut_off`: what the peer gets is not complete, so that TLS must not say close_notify.
  void begin(std::unique_ptr<Stream> server, Stream::Finish for_client, Stream::Finish for_server);

  // Returns true once the connections may be closed: both peers have everything and have closed too, or that has taken too
  // long. Closing earlier, with bytes unread, would make the kernel send RST, which can destroy the last message on its
  // way.
  [[nodiscard]] bool advance();

 private:
  void finish(Stream& stream, Stream::Finish how);

  SessionContext& context_;
  std::unique_ptr<Stream> server_;
  std::size_t backlog_ = 0;  // not yet written, when that was looked at last
};

}  // namespace pgveil::proxy
