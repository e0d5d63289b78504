#include "proxy/base/unix_peer.h"

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace pgveil::proxy {

std::string peer_user(int descriptor) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  std::array<char, 4096> memory{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(credentials.uid, &entry, memory.data(), memory.size(), &found);
  return found == nullptr ? std::string() : found->pw_name;
}

}  // namespace pgveil::proxy
