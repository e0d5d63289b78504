#include "tls/records_choice.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "tls/version.h"

namespace pgveil::tls {
namespace {

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
  const OpenSslRelease release{OPENSSL_version_major(), OPENSSL_version_minor()};
  const bool is_tested = is_tested_in_ci(release);
  return {.own = is_tested,
          .because = "OpenSSL " + std::to_string(release.major) + '.' + std::to_string(release.minor) +
                     (is_tested ? " is tested" : " is not tested")};
}

}  // namespace pgveil::tls
