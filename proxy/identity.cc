#include "proxy/identity.h"

#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace pgveil::proxy {

std::vector<std::string> system_users(const tls::PeerCertificate& certificate,
                                      protocol::CertificateName name) {
  using Name = protocol::CertificateName;
  switch (name) {
    case Name::common_name:
      if (!certificate.subject_is_text || certificate.common_names.size() != 1) return {};
      return certificate.common_names;
    case Name::distinguished_name:
      if (!certificate.subject_is_text || certificate.subject.empty()) return {};
      return {certificate.subject};
    case Name::uri: return certificate.uris;
    case Name::dns: return certificate.dns_names;
    case Name::email: return certificate.emails;
    case Name::fingerprint: return {certificate.sha256_fingerprint};
  }
  return {};
}

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
