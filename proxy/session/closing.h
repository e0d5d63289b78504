// The last stage of a session: it sends the remaining bytes, and waits until both peers have closed.
#pragma once

#include <cstddef>
#include <memory>

#include "proxy/session/session_context.h"
#include "proxy/session/stage.h"

namespace pgveil::proxy {

class Closing final : public Stage {
 public:
  explicit Closing(SessionContext& context) : context_(context) {}

  // Ends pgveil's side of both connections once everything is written. `server`: null if there is none.
  // Must be called once, before advance(). Finish::cut_off: the peer does not receive everything, so TLS must not
  // send close_notify.
  void begin(std::unique_ptr<Stream> server, Stream::Finish for_client, Stream::Finish for_server);

  // Returns true once the connections may be closed: both peers have received everything and have closed
  // their side, or the timeout has passed. If pgveil closed a connection with unread bytes, the kernel would
  // send RST, and the peer could lose the last message.
  [[nodiscard]] bool advance();

 private:
  void finish(Stream& stream, Stream::Finish how);

  SessionContext& context_;
  std::unique_ptr<Stream> server_;
  std::size_t backlog_ = 0;  // bytes not yet written at the last call of advance()
};

}  // namespace pgveil::proxy
