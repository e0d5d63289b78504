#include "tls/records_choice.h"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <string>

namespace pgveil::tls::test {
namespace {

TEST(RecordsChoice, IsWhatIsConfigured) {
  EXPECT_FALSE(choose_records(tls::Records::openssl).own);
  EXPECT_EQ(choose_records(tls::Records::openssl).because, "configured");
  EXPECT_TRUE(choose_records(tls::Records::own).own);
  EXPECT_EQ(choose_records(tls::Records::own).because, "configured");
}

// These tests run with the OpenSSL of Debian 12, of the container image, and of Debian sid in .ci/run; by hand also with that of
// Debian experimental.
TEST(RecordsChoice, IsOurOwnWithTheReleasesThatAreTestedInCi) {
  const auto choice = choose_records(tls::Records::automatic);
  const std::string release =
      std::to_string(OPENSSL_version_major()) + "." + std::to_string(OPENSSL_version_minor());
  const bool is_tested = release == "3.0" || release == "3.5" || release == "3.6";
  EXPECT_EQ(choice.own, is_tested);
  EXPECT_EQ(choice.because, "OpenSSL " + release + (is_tested ? " is tested" : " is not tested"));
}

// Our records call the ciphers outside of what was validated.
TEST(RecordsChoice, IsOpenSslWithFips) {
  ASSERT_EQ(EVP_default_properties_enable_fips(nullptr, 1), 1);
  for (const auto wanted : {tls::Records::automatic, tls::Records::own}) {
    EXPECT_FALSE(choose_records(wanted).own);
    EXPECT_EQ(choose_records(wanted).because, "OpenSSL is configured for FIPS");
  }
  ASSERT_EQ(EVP_default_properties_enable_fips(nullptr, 0), 1);
}

}  // namespace
}  // namespace pgveil::tls::test
