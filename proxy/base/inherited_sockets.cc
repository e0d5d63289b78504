#include "proxy/base/inherited_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>

namespace pgveil::proxy {
namespace {

std::vector<InheritedSocket> take_from_environment() {
  std::vector<InheritedSocket> sockets;
  char** names = nullptr;
  // The variables are removed, so that the programs that pgveil runs do not take the sockets for theirs.
  const int count = ::sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    const int descriptor = SD_LISTEN_FDS_START + i;
    if (::sd_is_socket(descriptor, AF_UNSPEC, SOCK_STREAM, 1) <= 0) continue;
    sockets.push_back({names != nullptr && names[i] != nullptr ? names[i] : "unknown",
                       bound_address(descriptor).text(), descriptor});
  }
  for (int i = 0; names != nullptr && names[i] != nullptr; ++i) std::free(names[i]);
  std::free(names);
  return sockets;
}

const InheritedSocket* find(const SocketAddress& address) {
  const auto bindable = kernel_address(address);
  if (!bindable) return nullptr;
  const auto& sockets = inherited_sockets();
  const auto found = std::ranges::find(sockets, bindable->text(), &InheritedSocket::address);
  return found == sockets.end() ? nullptr : &*found;
}

}  // namespace

const std::vector<InheritedSocket>& inherited_sockets() {
  static const std::vector<InheritedSocket> sockets = take_from_environment();
  return sockets;
}

bool has_inherited_socket(const SocketAddress& address) {
  return find(address) != nullptr;
}

Descriptor inherited_socket(const SocketAddress& address) {
  const InheritedSocket* found = find(address);
  Descriptor descriptor(found == nullptr ? -1 : ::fcntl(found->descriptor, F_DUPFD_CLOEXEC, 0));
  if (descriptor.get() >= 0) ::fcntl(descriptor.get(), F_SETFL, O_NONBLOCK);
  return descriptor;
}

}  // namespace pgveil::proxy
