// The server of listener.admin_database, as sessions see it: it is in this process, in the admin thread.
#pragma once

#include <functional>
#include <mutex>
#include <tl/expected.hpp>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {

class AdminDatabase {
 public:
  // Is called in the thread of a session, with the server's end of a new connection. It must not wait.
  using Accept = std::function<void(Descriptor)>;

  // From here on, `accept` gets the connections. May be called from any thread, as all functions.
  void serve(Accept accept);
  // After this call, `accept` is not called any more.
  void stop();
  // Returns the session's end of a new connection, non-blocking; or errno.
  [[nodiscard]] tl::expected<Descriptor, int> connect();

 private:
  std::mutex mutex_;
  Accept accept_;  // empty: nobody serves
};

}  // namespace pgveil::proxy
