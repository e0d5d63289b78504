#include "tls/version.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>

namespace pgveil::tls {
namespace {

// Of Debian 12, 13 and sid.
constexpr std::array kReleasesInCi{OpenSslRelease{3, 0}, OpenSslRelease{3, 5}, OpenSslRelease{3, 6}};
// Of Debian experimental.
constexpr std::array kReleasesByHand{OpenSslRelease{4, 0}};

bool contains(const auto& releases, OpenSslRelease release) {
  return std::find(releases.begin(), releases.end(), release) != releases.end();
}

}  // namespace

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION);
}

bool is_tested_release(OpenSslRelease release) {
  return is_tested_in_ci(release) || contains(kReleasesByHand, release);
}

bool is_tested_in_ci(OpenSslRelease release) {
  return contains(kReleasesInCi, release);
}

}  // namespace pgveil::tls
