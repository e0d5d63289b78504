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

}  // namespace
}  // namespace pgveil::proxy
