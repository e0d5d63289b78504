#include "proxy/doctor/name_review.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

using tls::CertificateNames;
using tls::CommonNameRule;
using Kind = CertificateNames::Kind;

CertificateNames dns_names(const std::vector<std::string>& names) {
  CertificateNames all;
  for (const auto& name : names) all.alternative_names.push_back({Kind::dns_name, name});
  return all;
}

NameReview review(std::string_view host, const CertificateNames& names) {
  return review_names(host, names, CommonNameRule::fallback);
}

TEST(ANameReview, FindsTheNameThatWasAsked) {
  const auto names = dns_names({"db01.example.com"});
  EXPECT_TRUE(review("db01.example.com", names).matches);
  EXPECT_EQ(
      summary_of(review("db01.example.com", names), "db01.example.com", names, CommonNameRule::fallback),
      "\"db01.example.com\" is a name in the certificate");
}

TEST(ANameReview, FindsTheNearestName) {
  const auto names = dns_names({"replica.example.com", "db01.example.com"});
  EXPECT_EQ(review("db1.example.com", names).nearest, "db01.example.com");
}

TEST(ANameReview, FindsAnyNameIfNoneIsNear) {
  EXPECT_EQ(review("10.0.0.7", dns_names({"db01.example.com"})).nearest, "db01.example.com");
}

TEST(ANameReview, DoesNotProposeAWildcard) {
  EXPECT_EQ(review("db01.example.org", dns_names({"*.example.com"})).nearest, "");
}

TEST(ANameReview, ProposesAnAddressAsText) {
  CertificateNames names;
  names.alternative_names.push_back({Kind::ip_address, {"\x0a\0\0\x07", 4}});
  EXPECT_EQ(review("10.0.0.8", names).nearest, "10.0.0.7");
}

TEST(ANameReview, SaysThatAnAddressWasAskedOfACertificateForNames) {
  const auto names = dns_names({"db01.example.com"});
  const auto found = review("10.0.0.7", names);
  EXPECT_TRUE(found.host_is_address);
  EXPECT_NE(summary_of(found, "10.0.0.7", names, CommonNameRule::fallback).find("has no IP address"),
            std::string::npos);
}

TEST(ANameReview, SaysThatOnlyTheCommonNameMatches) {
  CertificateNames names;
  names.first_common_name = "db01";
  const auto found = review("db01", names);
  EXPECT_TRUE(found.matches);
  EXPECT_TRUE(found.uses_common_name);
  EXPECT_NE(summary_of(found, "db01", names, CommonNameRule::fallback).find("common name (CN)"),
            std::string::npos);
  EXPECT_FALSE(review_names("db01", names, CommonNameRule::never).matches);
}

}  // namespace
}  // namespace pgveil::proxy
