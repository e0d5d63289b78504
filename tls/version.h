// The version of OpenSSL, and whether pgveil is tested with it.
#pragma once

#include <string>

namespace pgveil::tls {

// Returns the version of the loaded library, not of the headers; such as "OpenSSL 3.0.19 27 Jan 2026".
[[nodiscard]] std::string openssl_version();

struct OpenSslRelease {
  unsigned major;
  unsigned minor;
  bool operator==(const OpenSslRelease&) const = default;
};
// Returns whether all tests have passed with a release of OpenSSL, in .ci/run or by tests/newer-openssl. Only then may
// objects that OpenSSL lends be changed. CONTRIBUTING.md explains how to add a release.
[[nodiscard]] bool is_tested_release(OpenSslRelease release);
// Returns whether each run of .ci/run tests the record layer with a release. Only then may it be chosen automatically.
[[nodiscard]] bool is_tested_in_ci(OpenSslRelease release);

}  // namespace pgveil::tls
