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

// The releases of OpenSSL with which all tests of our record layer have passed, in .ci/run or by tests/newer-openssl.
// CONTRIBUTING.md explains how to add one.
constexpr std::array kTested{Release{3, 0}, Release{3, 5}, Release{3, 6}, Release{4, 0}};

// With FIPS our record layer cannot be used: it calls the ciphers itself and is not part of the validated
// module.
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
