#include "protocol/scram_client.h"

#include <gtest/gtest.h>

#include "protocol/backend.h"
#include "tests/support/scram_hash.h"
#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

constexpr std::string_view kNonce = "aG5mm+DTv5oRYNIABqsqcGJy";
constexpr std::string_view kServerFirstMessage =
    "r=aG5mm+DTv5oRYNIABqsqcGJyNL0Jy9pfxO70R5rBaWNFtogp,s=veWIwUz48iJMYWeU26l5TA==,i=4096";

using Mechanisms = std::vector<std::string_view>;
const Mechanisms kBoth{kScramSha256Plus, kScramSha256};
const Mechanisms kPlainOnly{kScramSha256};
const Mechanisms kPlusOnly{kScramSha256Plus};

// --- the choice of a mechanism ---

enum class Connection { plain, tls, tls_without_end_point };

struct Choice {
  const char* name;
  ChannelBinding policy;
  Connection connection;
  Mechanisms offered;
  std::string_view mechanism;  // empty: none, for the reason below
  std::string_view header;
  ScramFailure failure = ScramFailure::no_mechanism;
};

class MechanismChoice : public testing::TestWithParam<Choice> {};

TEST_P(MechanismChoice, IsAsThePolicySays) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  const Bytes end_point = row.connection == Connection::tls ? test::repeated(7, 32) : Bytes();
  ScramClient client(hash, {row.policy, row.connection != Connection::plain, end_point}, std::string(kNonce));
  const auto start = client.start(row.offered);
  if (row.mechanism.empty()) {
    ASSERT_FALSE(start.has_value());
    EXPECT_EQ(start.error(), row.failure);
  } else {
    ASSERT_TRUE(start.has_value());
    EXPECT_EQ(start->mechanism, row.mechanism);
    EXPECT_EQ(start->client_first, std::string(row.header) + "n=,r=" + std::string(kNonce));
    EXPECT_EQ(client.binds_channel(), row.mechanism == kScramSha256Plus);
  }
}

constexpr auto kDisable = ChannelBinding::disable;
constexpr auto kPrefer = ChannelBinding::prefer;
constexpr auto kRequire = ChannelBinding::require;
constexpr auto kPlain = Connection::plain;
constexpr auto kOverTls = Connection::tls;
constexpr auto kUndefined = Connection::tls_without_end_point;

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, MechanismChoice,
    testing::Values(
        Choice{"DisableTlsBoth", kDisable, kOverTls, kBoth, kScramSha256, "n,,"},
        Choice{"DisableTlsPlain", kDisable, kOverTls, kPlainOnly, kScramSha256, "n,,"},
        Choice{"DisableTlsPlus", kDisable, kOverTls, kPlusOnly, "", ""},
        Choice{"DisablePlainPlain", kDisable, kPlain, kPlainOnly, kScramSha256, "n,,"},
        Choice{"PreferTlsBoth", kPrefer, kOverTls, kBoth, kScramSha256Plus, kBindingHeader},
        Choice{"PreferTlsBothInTheOtherOrder", kPrefer, kOverTls, {kScramSha256, kScramSha256Plus}, kScramSha256Plus,
               kBindingHeader},
        Choice{"PreferTlsPlus", kPrefer, kOverTls, kPlusOnly, kScramSha256Plus, kBindingHeader},
        Choice{"PreferTlsPlain", kPrefer, kOverTls, kPlainOnly, kScramSha256, "y,,"},
        Choice{"PreferUndefinedBoth", kPrefer, kUndefined, kBoth, kScramSha256, "n,,"},
        Choice{"PreferUndefinedPlain", kPrefer, kUndefined, kPlainOnly, kScramSha256, "y,,"},
        Choice{"PreferUndefinedPlus", kPrefer, kUndefined, kPlusOnly, "", ""},
        Choice{"PreferPlainPlain", kPrefer, kPlain, kPlainOnly, kScramSha256, "n,,"},
        Choice{"PreferPlainBoth", kPrefer, kPlain, kBoth, kScramSha256, "n,,"},
        Choice{"PreferUnknownBeside", kPrefer, kPlain, {"OAUTHBEARER", kScramSha256}, kScramSha256, "n,,"},
        Choice{"PreferUnknownAlone", kPrefer, kOverTls, {"OAUTHBEARER"}, "", ""},
        Choice{"PreferNothing", kPrefer, kOverTls, {}, "", ""},
        Choice{"RequireTlsBoth", kRequire, kOverTls, kBoth, kScramSha256Plus, kBindingHeader},
        Choice{"RequireTlsPlain", kRequire, kOverTls, kPlainOnly, "", "", ScramFailure::binding_not_offered},
        Choice{"RequirePlainBoth", kRequire, kPlain, kBoth, "", "", ScramFailure::binding_without_tls},
        Choice{"RequireUndefinedBoth", kRequire, kUndefined, kBoth, "", "", ScramFailure::binding_undefined}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// --- the server's messages ---

class AScramClient : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(client_.start(kPlainOnly).has_value()); }

  void answer_the_server() {
    const auto salting = client_.take_server_first(as_bytes(kServerFirstMessage));
    ASSERT_TRUE(salting.has_value());
    ASSERT_TRUE(client_.answer(keys_of(test::salted_password("secret", *salting), hash_)).has_value());
  }

  test::ScramHash hash_;
  ScramClient client_{hash_, {}, std::string(kNonce)};
};

struct BadMessage {
  const char* name;
  std::string message;
  ScramFailure failure;
};

class BadServerFirst : public AScramClient, public testing::WithParamInterface<BadMessage> {};

TEST_P(BadServerFirst, IsNotAnswered) {
  const auto salting = client_.take_server_first(as_bytes(GetParam().message));
  ASSERT_FALSE(salting.has_value());
  EXPECT_EQ(salting.error(), GetParam().failure);
  EXPECT_EQ(client_.answer({}), tl::unexpected(ScramFailure::unexpected_message));
}

constexpr auto kMalformedFailure = ScramFailure::malformed_message;
const std::string kGoodNonce = "r=" + std::string(kNonce) + "more";

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, BadServerFirst,
    testing::Values(
        BadMessage{"Empty", "", kMalformedFailure},
        BadMessage{"NonceOfAnother", "r=bG5mm+DTv5oRYNIABqsqcGJymore,s=AAAA,i=1", ScramFailure::nonce_mismatch},
        BadMessage{"NonceOursAlone", "r=" + std::string(kNonce) + ",s=AAAA,i=1", ScramFailure::nonce_mismatch},
        BadMessage{"NonceCut", "r=aG5mm,s=AAAA,i=1", ScramFailure::nonce_mismatch},
        BadMessage{"NonceEmpty", "r=,s=AAAA,i=1", ScramFailure::nonce_mismatch},
        BadMessage{"NonceBehindOther", "r=x" + std::string(kNonce) + "x,s=AAAA,i=1", ScramFailure::nonce_mismatch},
        BadMessage{"NonceNotPrintable", kGoodNonce + "\x7f,s=AAAA,i=1", kMalformedFailure},
        BadMessage{"NonceOutsideAscii", kGoodNonce + "\xc3\xa9,s=AAAA,i=1", kMalformedFailure},
        BadMessage{"NonceWithNul", kGoodNonce + std::string(1, '\0') + ",s=AAAA,i=1", kMalformedFailure},
        BadMessage{"MandatoryExtension", "m=x," + kGoodNonce + ",s=AAAA,i=1", kMalformedFailure},
        BadMessage{"OtherOrder", kGoodNonce + ",i=1,s=AAAA", kMalformedFailure},
        BadMessage{"NoSalt", kGoodNonce + ",i=1", kMalformedFailure},
        BadMessage{"EmptySalt", kGoodNonce + ",s=,i=1", kMalformedFailure},
        BadMessage{"SaltThatIsNoBase64", kGoodNonce + ",s=AA*A,i=1", kMalformedFailure},
        BadMessage{"SaltWithSpace", kGoodNonce + ",s=AA A,i=1", kMalformedFailure},
        BadMessage{"SaltWithoutPadding", kGoodNonce + ",s=AA,i=1", kMalformedFailure},
        BadMessage{"NoIterations", kGoodNonce + ",s=AAAA", kMalformedFailure},
        BadMessage{"EmptyIterations", kGoodNonce + ",s=AAAA,i=", kMalformedFailure},
        BadMessage{"ZeroIterations", kGoodNonce + ",s=AAAA,i=0", kMalformedFailure},
        BadMessage{"NegativeIterations", kGoodNonce + ",s=AAAA,i=-1", kMalformedFailure},
        BadMessage{"SignedIterations", kGoodNonce + ",s=AAAA,i=+1", kMalformedFailure},
        BadMessage{"HexadecimalIterations", kGoodNonce + ",s=AAAA,i=0x10", kMalformedFailure},
        BadMessage{"IterationsWithSpace", kGoodNonce + ",s=AAAA,i= 1", kMalformedFailure},
        BadMessage{"LettersBehindIterations", kGoodNonce + ",s=AAAA,i=1x", kMalformedFailure},
        BadMessage{"OneIterationTooMany", kGoodNonce + ",s=AAAA,i=1000001", ScramFailure::too_many_iterations},
        BadMessage{"HugeIterations", kGoodNonce + ",s=AAAA,i=2147483648", ScramFailure::too_many_iterations},
        BadMessage{"EndlessIterations", kGoodNonce + ",s=AAAA,i=" + std::string(300, '9'),
                   ScramFailure::too_many_iterations},
        BadMessage{"CommaBehind", kGoodNonce + ",s=AAAA,i=1,", kMalformedFailure},
        BadMessage{"ExtensionBehind", kGoodNonce + ",s=AAAA,i=1,x=y", kMalformedFailure},
        BadMessage{"NulBehind", kGoodNonce + ",s=AAAA,i=1" + std::string(1, '\0'), kMalformedFailure},
        BadMessage{"ServerFinal", "v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=", kMalformedFailure}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST_F(AScramClient, ComputesAsManyIterationsAsItsLimit) {
  const auto salting = client_.take_server_first(as_bytes(kGoodNonce + ",s=AAAA,i=1000000"));
  ASSERT_TRUE(salting.has_value());
  EXPECT_EQ(*salting, (ScramSalting{kMaxScramIterations, Bytes(3)}));
}

class BadServerFinal : public AScramClient, public testing::WithParamInterface<BadMessage> {};

TEST_P(BadServerFinal, DoesNotEndTheLogin) {
  answer_the_server();
  const auto taken = client_.take_server_final(as_bytes(GetParam().message));
  ASSERT_FALSE(taken.has_value());
  EXPECT_EQ(taken.error(), GetParam().failure);
  EXPECT_FALSE(client_.finished());
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, BadServerFinal,
    testing::Values(
        BadMessage{"Empty", "", kMalformedFailure},
        BadMessage{"ErrorOfTheServer", "e=invalid-proof", ScramFailure::refused},
        BadMessage{"ErrorWithoutText", "e=", ScramFailure::refused},
        BadMessage{"LetterAlone", "e", kMalformedFailure},
        BadMessage{"SignatureOfAnother", "v=2vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=",
                   ScramFailure::incorrect_signature},
        BadMessage{"SignatureTooShort", "v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCA", kMalformedFailure},
        BadMessage{"SignatureTooLong", "v=AAAA3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=", kMalformedFailure},
        BadMessage{"SignatureEmpty", "v=", kMalformedFailure},
        BadMessage{"SignatureThatIsNoBase64", "v=*vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=", kMalformedFailure},
        BadMessage{"ExtensionBehind", "v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=,x=y", kMalformedFailure},
        BadMessage{"ServerFirstAgain", std::string(kServerFirstMessage), kMalformedFailure}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST_F(AScramClient, TakesTheSignatureOfItsServer) {
  answer_the_server();
  EXPECT_TRUE(
      client_.take_server_final(as_bytes("v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=")).has_value());
  EXPECT_TRUE(client_.finished());
}

TEST_F(AScramClient, ComparesTheSignatureInConstantTime) {
  answer_the_server();
  (void)client_.take_server_final(as_bytes("v=2vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U="));
  EXPECT_EQ(hash_.calls().equal, 1);
}

// --- order ---

constexpr auto kOutOfOrder = ScramFailure::unexpected_message;

TEST_F(AScramClient, StartsOnce) {
  EXPECT_EQ(client_.start(kPlainOnly).error(), kOutOfOrder);
}

TEST_F(AScramClient, DoesNotAnswerBeforeItIsAsked) {
  EXPECT_EQ(client_.answer({}), tl::unexpected(kOutOfOrder));
}

TEST_F(AScramClient, TakesNoSignatureBeforeItHasAnswered) {
  EXPECT_EQ(client_.take_server_final(as_bytes("v=")).error(), kOutOfOrder);
}

TEST_F(AScramClient, IsAskedOnce) {
  answer_the_server();
  EXPECT_EQ(client_.take_server_first(as_bytes(kServerFirstMessage)).error(), kOutOfOrder);
  // The exchange has ended with this failure.
  EXPECT_EQ(client_.take_server_final(as_bytes("v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=")).error(),
            kOutOfOrder);
}

TEST_F(AScramClient, TakesNothingOnceFinished) {
  answer_the_server();
  constexpr std::string_view kFinal = "v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U=";
  ASSERT_TRUE(client_.take_server_final(as_bytes(kFinal)).has_value());
  EXPECT_EQ(client_.take_server_final(as_bytes(kFinal)).error(), kOutOfOrder);
  EXPECT_FALSE(client_.finished());
}

TEST(ScramClientBeforeItsStart, TakesNothing) {
  const test::ScramHash hash;
  ScramClient client(hash, {}, std::string(kNonce));
  EXPECT_EQ(client.take_server_first(as_bytes(kServerFirstMessage)).error(), kOutOfOrder);
  EXPECT_EQ(client.start(kPlainOnly).error(), kOutOfOrder);
}

}  // namespace
}  // namespace pgveil::protocol
