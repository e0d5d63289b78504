#include "proxy/doctor/chain_review.h"

#include <gtest/gtest.h>

#include "tests/proxy/doctor/sent_chains.h"

namespace pgveil::proxy {
namespace {

using test::Identity;
using test::sent;

class AChainReview : public testing::Test {
 protected:
  const Identity root_ = test::authority("root");
  const Identity middle_ = test::issued_by(root_, test::intermediate("middle"));
  const Identity leaf_ = test::issued_by(middle_, test::server("db01"));
};

TEST_F(AChainReview, OfACompleteChainNamesItsRoot) {
  const auto review = review_chain(sent({&leaf_, &middle_}));
  EXPECT_TRUE(review.is_in_order);
  EXPECT_EQ(review.missing_issuer, "CN=root");
  EXPECT_FALSE(review.has_root);
}

TEST_F(AChainReview, NamesTheMissingIntermediateAuthority) {
  EXPECT_EQ(review_chain(sent({&leaf_})).missing_issuer, "CN=middle");
}

TEST_F(AChainReview, NamesTheIntermediateAuthorityThatIsMissingBeforeTheRoot) {
  const auto review = review_chain(sent({&leaf_, &root_}));
  EXPECT_EQ(review.missing_issuer, "CN=middle");
  EXPECT_FALSE(review.is_in_order);
}

TEST_F(AChainReview, SaysThatARootWasSent) {
  const auto review = review_chain(sent({&leaf_, &middle_, &root_}));
  EXPECT_TRUE(review.has_root);
  EXPECT_EQ(review.missing_issuer, "");
}

TEST_F(AChainReview, SaysThatTheOrderIsWrong) {
  const auto review = review_chain(sent({&leaf_, &root_, &middle_}));
  EXPECT_FALSE(review.is_in_order);
  EXPECT_TRUE(review.has_root);
}

TEST_F(AChainReview, OfASelfSignedCertificateMissesNothing) {
  const Identity own = test::self_signed(test::server("db01"));
  const auto review = review_chain(sent({&own}));
  EXPECT_EQ(review.missing_issuer, "");
  EXPECT_FALSE(review.has_root);
  EXPECT_EQ(summary_of(review, 1), "1 certificate; self-signed");
}

TEST_F(AChainReview, SaysWhereTheMissingCertificateCanBeFetched) {
  const ChainReview review{
      .is_in_order = true, .missing_issuer = "CN=middle", .issuer_url = "http://ca/middle.crt"};
  EXPECT_NE(summary_of(review, 1).find("\"CN=middle\" (at http://ca/middle.crt) was not sent"),
            std::string::npos);
}

TEST_F(AChainReview, OfAnEmptyChainHasNothing) {
  EXPECT_EQ(review_chain({}).missing_issuer, "");
}

// Each one names the other as its issuer, and neither has signed itself.
TEST_F(AChainReview, OfACircleEnds) {
  const Identity a = test::issued_by(test::authority("b"), test::intermediate("a"));
  const Identity b = test::issued_by(test::authority("a"), test::intermediate("b"));
  const auto review = review_chain(sent({&a, &b}));
  EXPECT_FALSE(review.has_root);
}

TEST_F(AChainReview, CountsTheDaysToTheEndAndSinceIt) {
  constexpr std::int64_t kDay = 86'400;
  EXPECT_EQ(days_left(10 * kDay, 0), 10);
  EXPECT_EQ(days_left(10 * kDay, 9 * kDay + 1), 0);
  EXPECT_EQ(days_left(10 * kDay, 12 * kDay), -2);
}

TEST_F(AChainReview, SummarizesACertificate) {
  const auto chain = sent({&leaf_});
  const std::string text = summary_of(chain.front(), chain.front().values.not_after - 60);
  EXPECT_EQ(
      text,
      "\"CN=db01\", issued by \"CN=middle\"; names \"db01\" (as its CN); 0 days left; ECDSA P-256, ecdsa-with-SHA256; for servers");
}

TEST_F(AChainReview, SaysWhenACertificateExpired) {
  const auto chain = sent({&leaf_});
  const auto& values = chain.front().values;
  EXPECT_NE(
      summary_of(chain.front(), values.not_after + 1).find("expired on " + tls::utc_text(values.not_after)),
      std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
