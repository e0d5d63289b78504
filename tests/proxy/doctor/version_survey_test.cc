#include "proxy/doctor/version_survey.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

using tls::Version;

TEST(AVersionStep, HasTheLowestAndTheHighestVersion) {
  const Step step =
      versions_step({.accepted = {Version::tls1_2, Version::tls1_3}, .unknown = {}, .error = {}});
  EXPECT_EQ(step.outcome, Outcome::passed);
  EXPECT_EQ(step.text, "lowest TLSv1.2, highest TLSv1.3");
}

TEST(AVersionStep, FailsWithAnOldVersion) {
  const Step step =
      versions_step({.accepted = {Version::tls1_1, Version::tls1_2}, .unknown = {}, .error = {}});
  EXPECT_EQ(step.outcome, Outcome::failed);
  ASSERT_TRUE(step.finding);
  EXPECT_NE(step.finding->cause.find("TLSv1.1"), std::string::npos);
}

TEST(AVersionStep, KnowsNothingWithoutAnAcceptedVersion) {
  EXPECT_EQ(versions_step({}).outcome, Outcome::noted);
}

TEST(AVersionStep, PassesOnlyIfEachVersionIsKnown) {
  AcceptedVersions versions{.accepted = {Version::tls1_2},
                            .unknown = {Version::tls1, Version::tls1_1},
                            .error = "no answer in time"};
  const Step step = versions_step(versions);
  EXPECT_EQ(step.outcome, Outcome::noted);
  EXPECT_EQ(step.text, "not known: TLSv1, TLSv1.1 (no answer in time); accepted: TLSv1.2");
  versions.accepted.insert(versions.accepted.begin(), Version::tls1_1);
  EXPECT_EQ(versions_step(versions).outcome, Outcome::failed);
  EXPECT_EQ(versions_step(versions).text,
            "lowest TLSv1.1, highest TLSv1.2; not known: TLSv1, TLSv1.1 (no answer in time)");
  versions.accepted.clear();
  EXPECT_EQ(versions_step(versions).text, "not known: no answer in time");
}

TEST(ACiphersStep, PassesOnlyIfTheCiphersAreKnown) {
  const AcceptedCiphers unknown{.names = {}, .error = "no answer in time"};
  EXPECT_EQ(ciphers_step(unknown, {}).outcome, Outcome::noted);
  EXPECT_EQ(ciphers_step(unknown, {}).text, "not known: no answer in time");
  EXPECT_EQ(ciphers_step({}, unknown).outcome, Outcome::noted);
  EXPECT_EQ(ciphers_step({}, unknown).text,
            "no broken ones; forward secrecy is not known: no answer in time");
  EXPECT_EQ(ciphers_step({.names = {"NULL-SHA256"}, .error = "no answer in time"}, {}).outcome,
            Outcome::failed);
}

TEST(ACiphersStep, FailsWithBrokenCiphersOnly) {
  EXPECT_EQ(ciphers_step({}, {}).outcome, Outcome::passed);
  EXPECT_EQ(ciphers_step({}, {.names = {"AES256-SHA"}, .error = {}}).outcome, Outcome::noted);
  EXPECT_NE(ciphers_step({}, {.names = {"AES256-SHA"}, .error = "there may be more"})
                .text.find("AES256-SHA, and perhaps more"),
            std::string::npos);
  const Step step = ciphers_step({.names = {"NULL-SHA256"}, .error = {}}, {});
  ASSERT_TRUE(step.finding);
  EXPECT_NE(step.finding->cause.find("NULL-SHA256"), std::string::npos);
  EXPECT_NE(step.finding->remedy.find("ssl_ciphers"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
