// A part of the life of a session. A session is in one stage at a time: it makes the stage when it enters it, and destroys
// it when it enters the next one. So a stage has only what is known by then, and keeps only what is still needed.
//
// Each stage has an advance(), which runs what can be run without waiting and returns how far it has come. What is here is
// what the end of a session needs of any stage.
#pragma once

#include <memory>

#include "proxy/net/stream.h"
#include "proxy/session/session_observer.h"

namespace pgveil::proxy {

// How the client reads an error at this moment.
enum class ErrorFormat {
  none,        // it does not: it takes any byte for something else
  protocol_2,  // the client has asked for a version before 3.0
  protocol_3,  // as ErrorResponse
};

class Stage {
 public:
  Stage() = default;
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  [[nodiscard]] virtual ErrorFormat error_format() const { return ErrorFormat::protocol_3; }
  // Tells the observer what the last line of the session says about this stage.
  virtual void report(SessionObserver& /*observer*/) const {}
  // Gives up the way to the server: whatever is still being connected is closed. Returns the server's stream, if there is
  // one, for the session to end it in an orderly way.
  [[nodiscard]] virtual std::unique_ptr<Stream> release_server() { return nullptr; }
};

}  // namespace pgveil::proxy
