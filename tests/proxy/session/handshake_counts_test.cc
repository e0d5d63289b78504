#include "proxy/session/handshake_counts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace pgveil::proxy {
namespace {

tls::Established agreed(const std::string& version, const std::string& group, bool post_quantum) {
  tls::Established established;
  established.version = version;
  established.cipher = "TLS_AES_256_GCM_SHA384";
  established.group = group;
  established.post_quantum = post_quantum;
  return established;
}

tls::FailureReport failure(tls::Failure failure, const std::string& reason) {
  tls::FailureReport report;
  report.failure = failure;
  report.reason = reason;
  return report;
}

TEST(HandshakeCounts, CountsEachKind) {
  HandshakeCounts one, other;
  one.add(agreed("TLSv1.3", "X25519", false));
  one.add(agreed("TLSv1.3", "X25519", false));
  one.add(agreed("TLSv1.3", "X25519MLKEM768", true));
  other.add(agreed("TLSv1.3", "X25519", false));
  other.add(agreed("TLSv1.2", "X25519", false));
  HandshakeCounts::Counts sum;
  one.add_to(sum);
  other.add_to(sum);
  ASSERT_EQ(sum.size(), 3U);
  const auto count_of = [&](const std::string& version, const std::string& group) {
    return sum.at(HandshakeKind(agreed(version, group, false)));
  };
  EXPECT_EQ(count_of("TLSv1.3", "X25519"), 3U);
  EXPECT_EQ(count_of("TLSv1.3", "X25519MLKEM768"), 1U);
  EXPECT_EQ(count_of("TLSv1.2", "X25519"), 1U);
  EXPECT_TRUE(std::ranges::any_of(sum, [](const auto& kind) { return kind.first.is_post_quantum; }));
}

TEST(HandshakeCounts, HasABoundedNumberOfKinds) {
  HandshakeCounts counts;
  for (std::size_t number = 0; number < 2 * HandshakeCounts::kMaxKinds; ++number)
    counts.add(agreed("TLSv1.3", std::to_string(number), false));
  counts.add(agreed("TLSv1.3", "0", false));
  HandshakeCounts::Counts sum;
  counts.add_to(sum);
  EXPECT_EQ(sum.size(), HandshakeCounts::kMaxKinds + 1);
  EXPECT_EQ(sum.at(HandshakeKind::other()), HandshakeCounts::kMaxKinds);
  EXPECT_EQ(sum.at(HandshakeKind(agreed("TLSv1.3", "0", false))), 2U);
}

TEST(FailedHandshakeCounts, CountsTheCauseAndTheAlertOfThePeer) {
  FailedHandshakeCounts counts;
  counts.add(failure(tls::Failure::rejected_by_peer, "tlsv1 alert unknown ca"));
  counts.add(failure(tls::Failure::rejected_by_peer, "tlsv1 alert unknown ca"));
  counts.add(failure(tls::Failure::expired, "certificate has expired"));
  FailedHandshakeCounts::Counts sum;
  counts.add_to(sum);
  ASSERT_EQ(sum.size(), 2U);
  EXPECT_EQ(sum.begin()->first.failure, "expired");
  EXPECT_EQ(sum.begin()->first.alert, "");
  EXPECT_EQ(sum.rbegin()->first.failure, "rejected_by_peer");
  EXPECT_EQ(sum.rbegin()->first.alert, "unknown ca");
  EXPECT_EQ(sum.rbegin()->second, 2U);
}

}  // namespace
}  // namespace pgveil::proxy
