#include "proxy/doctor/version_survey.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

using tls::Version;

TEST(AVersionStep, HasTheLowestAndTheHighestVersion) {
  const Step step = versions_step({Version::tls1_2, Version::tls1_3});
  EXPECT_EQ(step.outcome, Outcome::passed);
  EXPECT_EQ(step.text, "lowest TLSv1.2, highest TLSv1.3");
}

TEST(AVersionStep, FailsWithAnOldVersion) {
  const Step step = versions_step({Version::tls1_1, Version::tls1_2});
  EXPECT_EQ(step.outcome, Outcome::failed);
  ASSERT_TRUE(step.finding);
  EXPECT_NE(step.finding->cause.find("TLSv1.1"), std::string::npos);
}

TEST(AVersionStep, KnowsNothingWithoutAnAcceptedVersion) {
  EXPECT_EQ(versions_step({}).outcome, Outcome::noted);
}

TEST(ACiphersStep, FailsWithBrokenCiphersOnly) {
  EXPECT_EQ(ciphers_step({}, {}).outcome, Outcome::passed);
  EXPECT_EQ(ciphers_step({}, {"AES256-SHA"}).outcome, Outcome::noted);
  const Step step = ciphers_step({"NULL-SHA256"}, {});
  ASSERT_TRUE(step.finding);
  EXPECT_NE(step.finding->cause.find("NULL-SHA256"), std::string::npos);
  EXPECT_NE(step.finding->remedy.find("ssl_ciphers"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
