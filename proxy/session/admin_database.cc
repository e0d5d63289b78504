#include "proxy/session/admin_database.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace pgveil::proxy {

void AdminDatabase::serve(Accept accept) {
  const std::lock_guard lock(mutex_);
  accept_ = std::move(accept);
}

void AdminDatabase::stop() {
  serve(nullptr);
}

tl::expected<Descriptor, int> AdminDatabase::connect() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return tl::unexpected(errno);
  Descriptor session(ends[0]);
  Descriptor server(ends[1]);
  const std::lock_guard lock(mutex_);
  if (!accept_) return tl::unexpected(ECONNREFUSED);
  accept_(std::move(server));
  return session;
}

}  // namespace pgveil::proxy
