#include "tls/version.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>

namespace pgveil::tls {
namespace {

// 3.0 of Debian 12; 3.5, 3.6 and 4.0 of Debian 13, sid and experimental.
constexpr std::array kTestedReleases{OpenSslRelease{3, 0}, OpenSslRelease{3, 5}, OpenSslRelease{3, 6},
                                     OpenSslRelease{4, 0}};

}  // namespace

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION);
}

bool is_tested_release(OpenSslRelease release) {
  return std::find(kTestedReleases.begin(), kTestedReleases.end(), release) != kTestedReleases.end();
}

}  // namespace pgveil::tls
