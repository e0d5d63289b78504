// The base class of the stages of a session. A session is in one stage at a time: it creates the stage object when it
// enters the stage, and destroys it when it enters the next one. So a stage has only the state that it needs.
//
// Each stage also has a function advance(), which runs until the stage must wait, and returns its state. This
// class has the functions that the end of a session calls on any stage.
#pragma once

#include <memory>

#include "proxy/net/stream.h"
#include "proxy/session/session_observer.h"

namespace pgveil::proxy {

// How the client reads an error at this moment.
enum class ErrorFormat {
  none,        // not at all: it would treat an error as other bytes
  protocol_2,  // in the old format: the client has asked for a version before 3.0
  protocol_3,  // as ErrorResponse
};

class Stage {
 public:
  Stage() = default;
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  [[nodiscard]] virtual ErrorFormat error_format() const { return ErrorFormat::protocol_3; }
  // Passes the data of this stage for the session's last log line to the observer.
  virtual void report(SessionObserver& /*observer*/) const {}
  // Gives up the connection to the server. Closes a connection that is still being made. Returns the server's
  // stream, if there is one, so that the session can end it in an orderly way.
  [[nodiscard]] virtual std::unique_ptr<Stream> release_server() { return nullptr; }
};

}  // namespace pgveil::proxy
