#include "protocol/scram_server.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/backend.h"
#include "protocol/base64.h"
#include "protocol/scram_client.h"
#include "tests/support/scram_hash.h"
#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

constexpr std::string_view kServerNonce = "NL0Jy9pfxO70R5rBaWNFtogp";
constexpr std::string_view kClientFirstBare = "n=,r=abc";  // bare
constexpr std::string_view kWholeNonce = "abcNL0Jy9pfxO70R5rBaWNFtogp";
const Bytes kEndPoint(32, 0xab);

// The secret of the password "secret".
const ScramSecret& known_secret() {
  static const ScramSecret secret = *parse_scram_secret(
      "SCRAM-SHA-256$4096:veWIwUz48iJMYWeU26l5TA==$18PdkUAGhA3C+DlqMdMOKfuwDfCVQGfL9L187RL1LfQ=:"
      "QL/CTf4EgIoSpOSGvjzPuLnlydA4/cqY++jMUxagLo8=");
  return secret;
}

const ScramKeys& known_keys() {
  static const ScramKeys keys =
      keys_of(test::salted_password("secret", known_secret().salting), test::ScramHash());
  return keys;
}

// Returns a client-final message with a valid proof for any other content.
std::string with_proof(const std::string& without_proof, const std::string& server_first,
                       const ScramKeys& keys = known_keys()) {
  const test::ScramHash hash;
  const auto auth_message = auth_message_of(kClientFirstBare, server_first, without_proof);
  const auto proof =
      with_client_signature(keys.client_key, hash.sha256(keys.client_key.view()), auth_message, hash);
  return without_proof + ",p=" + encode_base64(proof.view());
}

// RFC 7677, section 3.
TEST(ScramServer, AnswersAsTheExampleOfTheStandard) {
  const test::ScramHash hash;
  const ScramSalting salting{4096, *decode_base64("W22ZaJ0SNY7soEsUEjb6gQ==")};
  ScramServer server(hash, secret_of(test::salted_password("pencil", salting), salting, hash), {},
                     "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
  EXPECT_EQ(server.take_initial_response({kScramSha256, as_bytes("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")}),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
  EXPECT_EQ(server.take_response(as_bytes("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                          "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  EXPECT_TRUE(server.finished());
}

TEST(ScramMechanisms, NameTheOneThatBindsFirst) {
  EXPECT_EQ(scram_mechanisms(true), (std::vector{kScramSha256Plus, kScramSha256}));
  EXPECT_EQ(scram_mechanisms(false), (std::vector{kScramSha256}));
}

// --- the client's first message ---

struct First {
  const char* name;
  bool has_end_point;
  std::string_view mechanism;
  std::string message;
  ScramRefusal refusal;
};

class RefusedClientFirst : public testing::TestWithParam<First> {};

TEST_P(RefusedClientFirst, EndsTheExchange) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  ScramServer server(hash, known_secret(), row.has_end_point ? kEndPoint : Bytes(),
                     std::string(kServerNonce));
  EXPECT_EQ(server.take_initial_response({row.mechanism, as_bytes(row.message)}),
            tl::unexpected(row.refusal));
  EXPECT_EQ(server.take_initial_response({kScramSha256, as_bytes("n,,n=,r=abc")}),
            tl::unexpected(ScramRefusal::unexpected_message));
  EXPECT_EQ(server.take_response(as_bytes("n,,n=,r=abc")), tl::unexpected(ScramRefusal::unexpected_message));
  EXPECT_FALSE(server.finished());
}

constexpr bool kBinds = true;
constexpr bool kBindsNot = false;
constexpr auto kMalformedRefusal = ScramRefusal::malformed_message;

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, RefusedClientFirst,
    testing::Values(
        First{"UnknownMechanism", kBinds, "SCRAM-SHA-1", "n,,n=,r=abc", ScramRefusal::invalid_mechanism},
        First{"EmptyMechanism", kBinds, "", "n,,n=,r=abc", ScramRefusal::invalid_mechanism},
        First{"MechanismInLowerCase", kBinds, "scram-sha-256", "n,,n=,r=abc", ScramRefusal::invalid_mechanism},
        First{"PlusThatWasNotOffered", kBindsNot, kScramSha256Plus, "p=tls-server-end-point,,n=,r=abc",
              ScramRefusal::invalid_mechanism},
        First{"PlusWithFlagN", kBinds, kScramSha256Plus, "n,,n=,r=abc", ScramRefusal::binding_missing},
        First{"PlusWithFlagY", kBinds, kScramSha256Plus, "y,,n=,r=abc", ScramRefusal::binding_missing},
        First{"PlainWithFlagP", kBinds, kScramSha256, "p=tls-server-end-point,,n=,r=abc",
              ScramRefusal::binding_unexpected},
        First{"PlainWithFlagPWithoutTls", kBindsNot, kScramSha256, "p=tls-server-end-point,,n=,r=abc",
              ScramRefusal::binding_unexpected},
        First{"FlagYThoughWeBind", kBinds, kScramSha256, "y,,n=,r=abc", ScramRefusal::binding_negotiation},
        First{"OtherBindingType", kBinds, kScramSha256Plus, "p=tls-unique,,n=,r=abc", ScramRefusal::binding_type},
        First{"EmptyBindingType", kBinds, kScramSha256Plus, "p=,,n=,r=abc", ScramRefusal::binding_type},
        First{"LongerBindingType", kBinds, kScramSha256Plus, "p=tls-server-end-point2,,n=,r=abc",
              ScramRefusal::binding_type},
        First{"NoBindingType", kBinds, kScramSha256Plus, "p,,n=,r=abc", kMalformedRefusal},
        First{"BindingTypeAlone", kBinds, kScramSha256Plus, "p=tls-server-end-point", kMalformedRefusal},
        First{"UnknownFlag", kBindsNot, kScramSha256, "x,,n=,r=abc", kMalformedRefusal},
        First{"FlagInUpperCase", kBindsNot, kScramSha256, "N,,n=,r=abc", kMalformedRefusal},
        First{"LongFlag", kBindsNot, kScramSha256, "nn,,n=,r=abc", kMalformedRefusal},
        First{"FlagAlone", kBindsNot, kScramSha256, "n", kMalformedRefusal},
        First{"FlagAndComma", kBindsNot, kScramSha256, "n,", kMalformedRefusal},
        First{"HeaderAlone", kBindsNot, kScramSha256, "n,,", kMalformedRefusal},
        First{"Empty", kBindsNot, kScramSha256, "", kMalformedRefusal},
        First{"WithNul", kBindsNot, kScramSha256, std::string("n,,n=,r=abc\0", 12), kMalformedRefusal},
        First{"WithNulInside", kBindsNot, kScramSha256, std::string("n,,n=,r=a\0c", 11), kMalformedRefusal},
        First{"AuthorizationIdentity", kBindsNot, kScramSha256, "n,a=postgres,n=,r=abc",
              ScramRefusal::authorization_identity},
        First{"AuthorizationIdentityWithBinding", kBinds, kScramSha256Plus,
              "p=tls-server-end-point,a=postgres,n=,r=abc", ScramRefusal::authorization_identity},
        First{"OtherAttributeInHeader", kBindsNot, kScramSha256, "n,b=postgres,n=,r=abc", kMalformedRefusal},
        First{"MandatoryExtension", kBindsNot, kScramSha256, "n,,m=x,n=,r=abc", ScramRefusal::mandatory_extension},
        First{"NoUser", kBindsNot, kScramSha256, "n,,r=abc", kMalformedRefusal},
        First{"UserWithoutEquals", kBindsNot, kScramSha256, "n,,n,r=abc", kMalformedRefusal},
        First{"NoNonce", kBindsNot, kScramSha256, "n,,n=", kMalformedRefusal},
        First{"OtherThanNonce", kBindsNot, kScramSha256, "n,,n=,x=abc", kMalformedRefusal},
        First{"NonceWithSpace", kBindsNot, kScramSha256, "n,,n=,r=a c", ScramRefusal::nonce_not_printable},
        First{"NonceWithDelete", kBindsNot, kScramSha256, "n,,n=,r=a\x7f", ScramRefusal::nonce_not_printable},
        First{"NonceOutsideAscii", kBindsNot, kScramSha256, "n,,n=,r=\xc3\xa9", ScramRefusal::nonce_not_printable},
        First{"ExtensionWithoutName", kBindsNot, kScramSha256, "n,,n=,r=abc,=x", kMalformedRefusal},
        First{"ExtensionWithoutEquals", kBindsNot, kScramSha256, "n,,n=,r=abc,x", kMalformedRefusal},
        First{"ExtensionWithDigitForName", kBindsNot, kScramSha256, "n,,n=,r=abc,1=x", kMalformedRefusal}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class TakenClientFirst : public testing::TestWithParam<First> {};

TEST_P(TakenClientFirst, IsAnsweredWithTheSaltingOfTheUser) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  ScramServer server(hash, known_secret(), row.has_end_point ? kEndPoint : Bytes(),
                     std::string(kServerNonce));
  EXPECT_EQ(server.take_initial_response({row.mechanism, as_bytes(row.message)}),
            "r=abcNL0Jy9pfxO70R5rBaWNFtogp,s=veWIwUz48iJMYWeU26l5TA==,i=4096");
  EXPECT_FALSE(server.finished());
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, TakenClientFirst,
    testing::Values(
        First{"FlagN", kBindsNot, kScramSha256, "n,,n=,r=abc", {}},
        First{"FlagNThoughWeBind", kBinds, kScramSha256, "n,,n=,r=abc", {}},
        First{"FlagYWhereWeCannotBind", kBindsNot, kScramSha256, "y,,n=,r=abc", {}},
        First{"FlagP", kBinds, kScramSha256Plus, "p=tls-server-end-point,,n=,r=abc", {}},
        First{"UserOfNpgsql", kBindsNot, kScramSha256, "n,,n=*,r=abc", {}},
        First{"UserWithEscapes", kBindsNot, kScramSha256, "n,,n=a=2Cb=3Dc,r=abc", {}},
        First{"Extension", kBindsNot, kScramSha256, "n,,n=,r=abc,x=y,Z=", {}}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ScramServer, AsksForTheFirstMessageWhereTheInitialResponseHasNone) {
  const test::ScramHash hash;
  ScramServer server(hash, known_secret(), {}, std::string(kServerNonce));
  EXPECT_EQ(server.take_initial_response({kScramSha256, std::nullopt}), "");
  EXPECT_EQ(server.take_response(as_bytes("n,,n=,r=abc")),
            "r=abcNL0Jy9pfxO70R5rBaWNFtogp,s=veWIwUz48iJMYWeU26l5TA==,i=4096");
}

TEST(ScramServer, TakesNoResponseBeforeTheInitialOne) {
  const test::ScramHash hash;
  ScramServer server(hash, known_secret(), {}, std::string(kServerNonce));
  EXPECT_EQ(server.take_response(as_bytes("n,,n=,r=abc")), tl::unexpected(ScramRefusal::unexpected_message));
}

// --- the client's last message ---

struct Final {
  const char* name;
  std::string_view mechanism;
  std::string_view header;  // of the first message
  std::string without_proof;
  std::optional<ScramRefusal> refusal;
};

class ClientFinal : public testing::TestWithParam<Final> {};

TEST_P(ClientFinal, IsCheckedBeforeItsRightProof) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  ScramServer server(hash, known_secret(), row.header == "y,," ? Bytes() : kEndPoint,
                     std::string(kServerNonce));
  const std::string first = std::string(row.header) + std::string(kClientFirstBare);
  const auto server_first = server.take_initial_response({row.mechanism, as_bytes(first)});
  ASSERT_TRUE(server_first.has_value());
  const auto answer = server.take_response(as_bytes(with_proof(row.without_proof, *server_first)));
  if (row.refusal) {
    EXPECT_EQ(answer, tl::unexpected(*row.refusal));
  } else {
    EXPECT_TRUE(answer.has_value());
  }
  EXPECT_EQ(server.finished(), !row.refusal.has_value());
}

std::string bound_to(std::string_view header, const Bytes& end_point) {
  return "c=" + encode_base64(test::operator+(Bytes(header.begin(), header.end()), end_point)) +
         ",r=" + std::string(kWholeNonce);
}
const std::string kPlainFinal = "c=biws,r=" + std::string(kWholeNonce);

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, ClientFinal,
    testing::Values(
        Final{"Plain", kScramSha256, "n,,", kPlainFinal, {}},
        Final{"PlainWhereNobodyBinds", kScramSha256, "y,,", "c=eSws,r=" + std::string(kWholeNonce), {}},
        Final{"PlainWithExtension", kScramSha256, "n,,", kPlainFinal + ",x=y", {}},
        Final{"Bound", kScramSha256Plus, kBindingHeader, bound_to(kBindingHeader, kEndPoint), {}},
        Final{"BoundToAnotherCertificate", kScramSha256Plus, kBindingHeader,
              bound_to(kBindingHeader, Bytes(32, 0xac)), ScramRefusal::binding_check},
        Final{"BoundToNothing", kScramSha256Plus, kBindingHeader, bound_to(kBindingHeader, {}),
              ScramRefusal::binding_check},
        Final{"BoundToMore", kScramSha256Plus, kBindingHeader, bound_to(kBindingHeader, Bytes(33, 0xab)),
              ScramRefusal::binding_check},
        Final{"BoundByAnotherType", kScramSha256Plus, kBindingHeader, bound_to("p=tls-unique,,", kEndPoint),
              ScramRefusal::binding_check},
        Final{"NotBoundAfterAll", kScramSha256Plus, kBindingHeader, kPlainFinal, ScramRefusal::binding_check},
        Final{"FlagYAfterN", kScramSha256, "n,,", "c=eSws,r=" + std::string(kWholeNonce),
              ScramRefusal::binding_attribute},
        Final{"FlagNAfterY", kScramSha256, "y,,", kPlainFinal, ScramRefusal::binding_attribute},
        Final{"BoundAfterN", kScramSha256, "n,,", bound_to(kBindingHeader, kEndPoint),
              ScramRefusal::binding_attribute},
        Final{"EmptyBinding", kScramSha256, "n,,", "c=,r=" + std::string(kWholeNonce),
              ScramRefusal::binding_attribute},
        Final{"NoBinding", kScramSha256, "n,,", "r=" + std::string(kWholeNonce), kMalformedRefusal},
        Final{"NonceOfTheClientAlone", kScramSha256, "n,,", "c=biws,r=abc", ScramRefusal::nonce_mismatch},
        Final{"NonceOfTheServerAlone", kScramSha256, "n,,", "c=biws,r=" + std::string(kServerNonce),
              ScramRefusal::nonce_mismatch},
        Final{"NonceLonger", kScramSha256, "n,,", kPlainFinal + "x", ScramRefusal::nonce_mismatch},
        Final{"NonceEmpty", kScramSha256, "n,,", "c=biws,r=", ScramRefusal::nonce_mismatch},
        Final{"NoNonce", kScramSha256, "n,,", "c=biws", kMalformedRefusal},
        Final{"ExtensionBeforeTheNonce", kScramSha256, "n,,", "c=biws,x=y,r=" + std::string(kWholeNonce),
              kMalformedRefusal},
        Final{"ExtensionWithoutEquals", kScramSha256, "n,,", kPlainFinal + ",x", kMalformedRefusal}),
    [](const auto& row) { return row.param.name; });
// clang-format on

class AChallengedServer : public testing::Test {
 protected:
  void SetUp() override {
    const auto answer = server_.take_initial_response({kScramSha256, as_bytes("n,,n=,r=abc")});
    ASSERT_TRUE(answer.has_value());
    server_first_ = *answer;
  }

  test::ScramHash hash_;
  ScramServer server_{hash_, known_secret(), {}, std::string(kServerNonce)};
  std::string server_first_;
};

TEST_F(AChallengedServer, TakesTheProofOfThePassword) {
  EXPECT_TRUE(server_.take_response(as_bytes(with_proof(kPlainFinal, server_first_))).has_value());
  EXPECT_TRUE(server_.finished());
}

TEST_F(AChallengedServer, RefusesAProofThatIsNotWhole) {
  const std::string right = with_proof(kPlainFinal, server_first_);
  const std::string proof = right.substr(kPlainFinal.size());  // ",p=" and base64
  for (const auto& message : {kPlainFinal, kPlainFinal + ",", kPlainFinal + ",p",
                              kPlainFinal + ",p=", right.substr(0, right.size() - 4),
                              kPlainFinal + ",p=AAAA" + proof.substr(3), right.substr(0, right.size() - 1),
                              right + "x=y", right + ",x=y", kPlainFinal + ",p= " + proof.substr(3),
                              kPlainFinal + ",P=" + proof.substr(3), right + std::string(1, '\0')}) {
    const test::ScramHash hash;
    ScramServer server(hash, known_secret(), {}, std::string(kServerNonce));
    ASSERT_TRUE(server.take_initial_response({kScramSha256, as_bytes("n,,n=,r=abc")}).has_value());
    EXPECT_EQ(server.take_response(as_bytes(message)), tl::unexpected(kMalformedRefusal)) << message;
  }
}

TEST_F(AChallengedServer, RefusesTheProofOfAnotherPassword) {
  const auto keys = keys_of(test::salted_password("Secret", known_secret().salting), hash_);
  EXPECT_EQ(server_.take_response(as_bytes(with_proof(kPlainFinal, server_first_, keys))),
            tl::unexpected(ScramRefusal::wrong_proof));
  EXPECT_FALSE(server_.finished());
}

TEST_F(AChallengedServer, GivesNoSecondTry) {
  (void)server_.take_response(as_bytes("nonsense"));
  EXPECT_EQ(server_.take_response(as_bytes(with_proof(kPlainFinal, server_first_))),
            tl::unexpected(ScramRefusal::unexpected_message));
}

TEST_F(AChallengedServer, TakesNothingOnceFinished) {
  const std::string right = with_proof(kPlainFinal, server_first_);
  ASSERT_TRUE(server_.take_response(as_bytes(right)).has_value());
  EXPECT_EQ(server_.take_response(as_bytes(right)), tl::unexpected(ScramRefusal::unexpected_message));
  EXPECT_FALSE(server_.finished());
}

// The client's proof contains all that a login to the server needs.
TEST_F(AChallengedServer, LogsInWithWhatItsClientHasShown) {
  ASSERT_TRUE(server_.take_response(as_bytes(with_proof(kPlainFinal, server_first_))).has_value());

  ScramServer postgres(hash_, known_secret(), {}, "AnotherNonceOfTheServers");
  ScramClient client(hash_, {}, "AnotherNonceOfTheClients");
  const auto start = client.start({kScramSha256});
  const auto challenge = postgres.take_initial_response({start->mechanism, as_bytes(start->client_first)});
  const auto salting = client.take_server_first(as_bytes(*challenge));
  ASSERT_TRUE(salting.has_value());
  EXPECT_EQ(*salting, known_secret().salting);
  const auto proof = client.answer(server_.keys());
  const auto signature = postgres.take_response(as_bytes(*proof));
  ASSERT_TRUE(signature.has_value());
  EXPECT_TRUE(client.take_server_final(as_bytes(*signature)).has_value());
}

// --- unknown users ---

// The messages that a client receives, and the hashes that the server computes, until the client is refused.
struct Attempt {
  std::string server_first;
  ScramServer::Answer answer;
  test::ScramHash::Calls calls;
};

Attempt attempt(const ScramSecret& secret, const ScramKeys& keys) {
  const test::ScramHash hash;
  ScramServer server(hash, secret, {}, std::string(kServerNonce));
  const auto server_first = server.take_initial_response({kScramSha256, as_bytes("n,,n=,r=abc")});
  const auto answer = server.take_response(as_bytes(with_proof(kPlainFinal, *server_first, keys)));
  return {*server_first, answer, hash.calls()};
}

TEST(MockSecret, IsRefusedAsAWrongPasswordIsAfterTheSameWork) {
  const test::ScramHash hash;
  const auto mock = mock_scram_secret("nobody", test::repeated(1, 32), 4096, hash);
  const auto wrong = keys_of(test::salted_password("Secret", known_secret().salting), hash);
  const Attempt known = attempt(known_secret(), wrong);
  const Attempt unknown = attempt(mock, wrong);
  EXPECT_EQ(known.answer, tl::unexpected(ScramRefusal::wrong_proof));
  EXPECT_EQ(unknown.answer, tl::unexpected(ScramRefusal::wrong_proof));
  EXPECT_EQ(known.calls, unknown.calls);
  EXPECT_GE(unknown.calls.equal, 1);
  EXPECT_EQ(known.server_first.size(), unknown.server_first.size());
}

TEST(MockSecret, IsRefusedWhateverTheProof) {
  ScramSecret secret = known_secret();
  secret.is_mock = true;
  EXPECT_EQ(attempt(secret, known_keys()).answer, tl::unexpected(ScramRefusal::wrong_proof));
}

// --- errors for the client ---

TEST(ScramRefusal, HasTheSqlstateOfPostgres) {
  const std::pair<ScramRefusal, std::string_view> rows[] = {{ScramRefusal::invalid_mechanism, "08P01"},
                                                            {ScramRefusal::malformed_message, "08P01"},
                                                            {ScramRefusal::binding_missing, "08P01"},
                                                            {ScramRefusal::binding_unexpected, "08P01"},
                                                            {ScramRefusal::binding_negotiation, "28000"},
                                                            {ScramRefusal::binding_type, "08P01"},
                                                            {ScramRefusal::authorization_identity, "0A000"},
                                                            {ScramRefusal::mandatory_extension, "0A000"},
                                                            {ScramRefusal::nonce_not_printable, "08P01"},
                                                            {ScramRefusal::binding_check, "28000"},
                                                            {ScramRefusal::binding_attribute, "08P01"},
                                                            {ScramRefusal::nonce_mismatch, "08P01"},
                                                            {ScramRefusal::wrong_proof, "28P01"},
                                                            {ScramRefusal::unexpected_message, "08P01"}};
  for (const auto& [refusal, sqlstate] : rows) {
    EXPECT_EQ(describe(refusal).sqlstate, sqlstate) << describe(refusal).message;
    EXPECT_FALSE(describe(refusal).message.empty());
  }
}

}  // namespace
}  // namespace pgveil::protocol
