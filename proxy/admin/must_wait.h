// The result of a call on a non-blocking socket.
#pragma once

#include <sys/types.h>

#include <cerrno>

namespace pgveil::proxy {

// Returns whether recv() or send() has failed only because it must be called again, now or after the next event.
[[nodiscard]] inline bool must_wait(ssize_t result) {
  return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace pgveil::proxy
