#include "proxy/base/unix_peer.h"

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace pgveil::proxy {

std::string user_name(uid_t user) {
  constexpr std::size_t kMaxEntryBytes = 16'384;
  std::array<char, kMaxEntryBytes> memory{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwuid_r(user, &entry, memory.data(), memory.size(), &found);
  return found == nullptr ? std::string() : found->pw_name;
}

std::string peer_user(int descriptor) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return user_name(credentials.uid);
}

}  // namespace pgveil::proxy
