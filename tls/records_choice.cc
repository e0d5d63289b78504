#include "tls/records_choice.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include <algorithm>
#include <array>

namespace pgveil::tls {
namespace {

struct Release {
  unsigned major;
  unsigned minor;
  bool operator==(const Release&) const = default;
};

// All tests of our records have passed with these, in .ci/run or by tests/newer-openssl.
constexpr std::array kTested{Release{3, 0}, Release{3, 5}, Release{3, 6}, Release{4, 0}};

// Our records call the ciphers themselves, so they are not a part of what was validated.
bool fips_is_requested() {
  return EVP_default_properties_is_fips_enabled(nullptr) == 1 ||
         OSSL_PROVIDER_available(nullptr, "fips") == 1;
}

}  // namespace

RecordsChoice choose_records(Records wanted) {
  if (wanted == Records::openssl) return {.own = false, .because = "configured"};
  if (fips_is_requested()) return {.own = false, .because = "OpenSSL is configured for FIPS"};
  if (wanted == Records::own) return {.own = true, .because = "configured"};
  const Release release{OPENSSL_version_major(), OPENSSL_version_minor()};
  const bool is_tested = std::find(kTested.begin(), kTested.end(), release) != kTested.end();
  return {.own = is_tested,
          .because = "OpenSSL " + std::to_string(release.major) + '.' + std::to_string(release.minor) +
                     (is_tested ? " is tested" : " is not tested")};
}

}  // namespace pgveil::tls
