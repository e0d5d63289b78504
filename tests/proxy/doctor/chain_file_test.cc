#include "proxy/doctor/chain_file.h"

#include <gtest/gtest.h>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

ServerReport report_of(const test::Identity& identity) {
  return {
      .upstream = "", .server = "db01:5432", .steps = {}, .chain = test::sent({&identity}), .verdict = {}};
}

TEST(AChainFile, CanBeReadAgain) {
  const auto own = test::self_signed(test::server("db01"));
  const test::TemporaryFolder folder;
  const auto stored = tls::read_stored_file(folder.write("chain.crt", chain_file(report_of(own), 0)));
  ASSERT_TRUE(stored);
  ASSERT_EQ(stored->certificates.size(), 1U);
  EXPECT_EQ(stored->certificates.front().values.subject, "CN=db01");
}

TEST(AChainFile, SaysThatItIsNotVerifiedAndHasTheFingerprint) {
  const auto report = report_of(test::self_signed(test::server("db01")));
  const std::string text = chain_file(report, 0);
  EXPECT_NE(text.find("NOT VERIFIED"), std::string::npos);
  EXPECT_NE(text.find(report.chain.front().values.sha256_fingerprint), std::string::npos);
}

// A line break in a name must not end the comment.
TEST(AChainFile, HasNoLinesThatTheServerHasWritten) {
  const auto report = report_of(test::self_signed(test::server("db01\nowned")));
  EXPECT_EQ(chain_file(report, 0).find("\nowned"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
