// The common functions of both sides, and exchanges between the two sides.
#include "protocol/scram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "protocol/backend.h"
#include "protocol/scram_client.h"
#include "protocol/scram_server.h"
#include "tests/support/scram_hash.h"
#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::salted_password;
using test::operator""_wire;

// PostgreSQL 15 has written this secret, for the password "secret".
constexpr std::string_view kSecretText =
    "SCRAM-SHA-256$4096:veWIwUz48iJMYWeU26l5TA==$18PdkUAGhA3C+DlqMdMOKfuwDfCVQGfL9L187RL1LfQ=:"
    "QL/CTf4EgIoSpOSGvjzPuLnlydA4/cqY++jMUxagLo8=";

bool same(const SecretKey& left, const SecretKey& right) {
  return std::ranges::equal(left.view(), right.view());
}

TEST(ScramSecret, IsReadAndWrittenAsPostgresWritesIt) {
  const auto secret = parse_scram_secret(kSecretText);
  ASSERT_TRUE(secret.has_value());
  EXPECT_EQ(secret->salting.iterations, 4096U);
  EXPECT_EQ(secret->salting.salt, "bde588c14cf8f2224c616794dba9794c"_wire);
  EXPECT_FALSE(secret->is_mock);
  EXPECT_EQ(format_scram_secret(*secret), kSecretText);
}

TEST(ScramSecret, OfAPasswordIsThatOfPostgres) {
  const test::ScramHash hash;
  const ScramSalting salting{4096, "bde588c14cf8f2224c616794dba9794c"_wire};
  EXPECT_EQ(format_scram_secret(secret_of(salted_password("secret", salting), salting, hash)), kSecretText);
}

TEST(ScramSecret, IsRefusedWhereverItIsCut) {
  for (std::size_t size = 0; size < kSecretText.size(); ++size)
    EXPECT_FALSE(parse_scram_secret(kSecretText.substr(0, size)).has_value()) << size;
}

// Replaces `from` by `to` in kSecretText.
struct Change {
  const char* name;
  std::string_view from;
  std::string_view to;
};

class MalformedSecret : public testing::TestWithParam<Change> {};

TEST_P(MalformedSecret, IsRefused) {
  std::string text(kSecretText);
  text.replace(text.find(GetParam().from), GetParam().from.size(), GetParam().to);
  EXPECT_FALSE(parse_scram_secret(text).has_value()) << text;
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    Scram, MalformedSecret,
    testing::Values(
        Change{"AnotherHash", "SCRAM-SHA-256", "SCRAM-SHA-512"},
        Change{"LowerCase", "SCRAM-SHA-256", "scram-sha-256"},
        Change{"SpaceBefore", "SCRAM-SHA-256", " SCRAM-SHA-256"},
        Change{"NoIterations", "4096", ""},
        Change{"ZeroIterations", "4096", "0"},
        Change{"NegativeIterations", "4096", "-4096"},
        Change{"SignedIterations", "4096", "+4096"},
        Change{"SpaceBeforeIterations", "4096", " 4096"},
        Change{"LettersBehindIterations", "4096", "4096x"},
        Change{"MoreIterationsThanAnyServerAsks", "4096", "1000001"},
        Change{"MoreIterationsThanFit", "4096", "99999999999999999999"},
        Change{"NoSalt", "veWIwUz48iJMYWeU26l5TA==", ""},
        Change{"SaltWithoutPadding", "TA==", "TA"},
        Change{"SaltThatIsNoBase64", "veWI", "ve*I"},
        Change{"StoredKeyTooShort", "18PdkUAG", "18Pd"},
        Change{"StoredKeyTooLong", "18PdkUAG", "18Pd18PdkUAG"},
        Change{"ServerKeyTooShort", "QL/CTf4E", "QL/C"},
        Change{"MoreBehind", "UxagLo8=", "UxagLo8=\n"},
        Change{"OneColonLess", "fQ=:QL", "fQ=QL"},
        Change{"OneDollarLess", "TA==$18", "TA==18"},
        Change{"OneDollarMore", "TA==$18", "TA==$$18"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(ScramSecret, MayAskForAsManyIterationsAsWeCompute) {
  std::string text(kSecretText);
  text.replace(text.find("4096"), 4, "1000000");
  ASSERT_TRUE(parse_scram_secret(text).has_value());
  EXPECT_EQ(parse_scram_secret(text)->salting.iterations, kMaxScramIterations);
}

TEST(MockSecret, HasAStableSaltForEachUserThatDependsOnTheKey) {
  const test::ScramHash hash;
  const auto key = test::repeated(1, 32);
  const auto ann = mock_scram_secret("ann", key, 4096, hash);
  EXPECT_TRUE(ann.is_mock);
  EXPECT_EQ(ann.salting.iterations, 4096U);
  EXPECT_EQ(ann.salting.salt.size(), 16U);
  EXPECT_EQ(mock_scram_secret("ann", key, 4096, hash).salting, ann.salting);
  EXPECT_NE(mock_scram_secret("bob", key, 4096, hash).salting, ann.salting);
  EXPECT_NE(mock_scram_secret("ann", test::repeated(2, 32), 4096, hash).salting, ann.salting);
}

TEST(ScramNonce, IsPrintableAndAsLongAsLibpqs) {
  const std::array<std::uint8_t, kScramNonceBytes> random{0xfb, 0xff, 0xbe};
  EXPECT_EQ(scram_nonce(random), "+/++AAAAAAAAAAAAAAAAAAAA");
  EXPECT_TRUE(is_scram_printable(scram_nonce(random)));
}

// --- both sides ---

// The messages of a login with SCRAM, in this order.
enum Message { kClientFirst, kServerFirst, kClientFinal, kServerFinal, kMessages };

struct Outcome {
  bool client_finished = false;
  bool server_finished = false;
  bool bound = false;
  SecretKey client_key;  // the key that the server has learned
};

// Changes a message in transit.
using Wire = std::function<void(Message, std::string&)>;
const Wire kHonestWire = [](Message, std::string&) {};

struct Sides {
  ScramSecret secret = *parse_scram_secret(kSecretText);
  std::string_view password = "secret";
  Bytes client_end_point;
  Bytes server_end_point;
};

// Remembers results, because most exchanges in this file compute the same hash.
const SecretKey& remembered_salted_password(std::string_view password, const ScramSalting& salting) {
  static std::map<std::tuple<std::string, Bytes, std::uint32_t>, SecretKey> remembered;
  const auto [place, is_new] =
      remembered.try_emplace({std::string(password), salting.salt, salting.iterations}, SecretKey());
  if (is_new) place->second = salted_password(password, salting);
  return place->second;
}

Outcome log_in(const Sides& sides, const Wire& wire) {
  const test::ScramHash hash;
  ScramClient client(hash, {ChannelBinding::prefer, !sides.client_end_point.empty(), sides.client_end_point},
                     "aG5mm+DTv5oRYNIABqsqcGJy");
  ScramServer server(hash, sides.secret, sides.server_end_point, "NL0Jy9pfxO70R5rBaWNFtogp");
  Outcome outcome;
  const auto as_they_are = [&] {
    outcome.client_finished = client.finished();
    outcome.server_finished = server.finished();
    outcome.bound = client.binds_channel();
    if (server.finished()) outcome.client_key = server.keys().client_key;
    return outcome;
  };

  auto start = client.start(scram_mechanisms(!sides.server_end_point.empty()));
  if (!start) return as_they_are();
  wire(kClientFirst, start->client_first);
  auto server_first = server.take_initial_response({start->mechanism, as_bytes(start->client_first)});
  if (!server_first) return as_they_are();
  wire(kServerFirst, *server_first);
  const auto salting = client.take_server_first(as_bytes(*server_first));
  if (!salting) return as_they_are();
  auto client_final = client.answer(keys_of(remembered_salted_password(sides.password, *salting), hash));
  if (!client_final) return as_they_are();
  wire(kClientFinal, *client_final);
  auto server_final = server.take_response(as_bytes(*client_final));
  if (!server_final) return as_they_are();
  wire(kServerFinal, *server_final);
  (void)client.take_server_final(as_bytes(*server_final));
  return as_they_are();
}

// Neither side accepts an exchange that was changed in transit before the server's last message.
void expect_no_login(const Sides& sides, Message changed, const std::function<void(std::string&)>& change) {
  std::string sent;
  const auto outcome = log_in(sides, [&](Message which, std::string& message) {
    if (which != changed) return;
    change(message);
    sent = message;
  });
  EXPECT_FALSE(outcome.client_finished) << sent;
  EXPECT_EQ(outcome.server_finished, changed == kServerFinal) << sent;
}

std::vector<Sides> with_and_without_binding() {
  const auto end_point = test::repeated(0xab, 32);
  return {Sides{}, Sides{*parse_scram_secret(kSecretText), "secret", end_point, end_point}};
}

TEST(ScramExchange, EndsWithBothSidesContent) {
  for (const Sides& sides : with_and_without_binding()) {
    const auto outcome = log_in(sides, kHonestWire);
    EXPECT_TRUE(outcome.client_finished);
    EXPECT_TRUE(outcome.server_finished);
    EXPECT_EQ(outcome.bound, !sides.server_end_point.empty());
  }
}

TEST(ScramExchange, GivesTheServerTheKeyThatLogsIn) {
  const test::ScramHash hash;
  const auto secret = *parse_scram_secret(kSecretText);
  const auto keys = keys_of(salted_password("secret", secret.salting), hash);
  EXPECT_TRUE(same(log_in(Sides{}, kHonestWire).client_key, keys.client_key));
}

TEST(ScramExchange, FailsForAnotherPassword) {
  Sides sides;
  sides.password = "Secret";
  const auto outcome = log_in(sides, kHonestWire);
  EXPECT_FALSE(outcome.server_finished);
  EXPECT_FALSE(outcome.client_finished);
}

TEST(ScramExchange, FailsForAClientThatSawAnotherCertificate) {
  Sides sides;
  sides.client_end_point = test::repeated(1, 32);
  sides.server_end_point = test::repeated(2, 32);
  EXPECT_FALSE(log_in(sides, kHonestWire).server_finished);
}

TEST(ScramExchange, FailsForAServerThatKnowsTheWrongServerKey) {
  Sides sides;
  sides.secret.server_key.bytes()[0] ^= 1;
  const auto outcome = log_in(sides, kHonestWire);
  EXPECT_TRUE(outcome.server_finished);
  EXPECT_FALSE(outcome.client_finished);
}

TEST(ScramExchange, FailsWhereverAMessageIsCut) {
  for (const Sides& sides : with_and_without_binding()) {
    for (int which = 0; which < kMessages; ++which) {
      std::size_t size = 0;
      (void)log_in(sides, [&](Message now, std::string& message) {
        if (now == which) size = message.size();
      });
      ASSERT_GT(size, 0U);
      for (std::size_t kept = 0; kept < size; ++kept)
        expect_no_login(sides, static_cast<Message>(which),
                        [&](std::string& message) { message.resize(kept); });
    }
  }
}

TEST(ScramExchange, FailsWhicheverByteIsChanged) {
  for (const Sides& sides : with_and_without_binding()) {
    for (int which = 0; which < kMessages; ++which) {
      bool is_over = false;
      for (std::size_t place = 0; !is_over; ++place) {
        for (const int change : {0x01, 0x20, 0x80}) {
          std::size_t size = 0;
          expect_no_login(sides, static_cast<Message>(which), [&](std::string& message) {
            size = message.size();
            message[place] = static_cast<char>(message[place] ^ change);
          });
          is_over = place + 1 >= size;
        }
      }
    }
  }
}

// An attacker could reduce the iteration count in transit. If the client then sent a proof, guessing the
// password would be cheap.
TEST(ScramExchange, FailsWithFewerIterationsThanTheServerAskedFor) {
  expect_no_login(Sides{}, kServerFirst,
                  [](std::string& message) { message.replace(message.find("i=4096"), 6, "i=1"); });
}

TEST(ScramExchange, FailsWithANonceThatIsNotTheServers) {
  expect_no_login(Sides{}, kServerFirst, [](std::string& message) {
    message = "r=aG5mm+DTv5oRYNIABqsqcGJyAnotherNonceOfTheServer,s=veWIwUz48iJMYWeU26l5TA==,i=4096";
  });
}

// --- recorded exchanges of PostgreSQL 15 and its libpq ---

// Exchanges between psql 15 and PostgreSQL 15, for the role of kSecretText. The second one uses TLS.
struct Transcript {
  const char* name;
  std::vector<std::string_view> offered;
  Bytes end_point;
  std::string_view client_nonce;
  std::string_view server_nonce;
  std::string_view messages[kMessages];
};

const std::vector<Transcript>& transcripts() {
  static const std::vector<Transcript> rows = {
      {"Plain",
       {kScramSha256},
       {},
       "aG5mm+DTv5oRYNIABqsqcGJy",
       "NL0Jy9pfxO70R5rBaWNFtogp",
       {"n,,n=,r=aG5mm+DTv5oRYNIABqsqcGJy",
        "r=aG5mm+DTv5oRYNIABqsqcGJyNL0Jy9pfxO70R5rBaWNFtogp,s=veWIwUz48iJMYWeU26l5TA==,i=4096",
        "c=biws,r=aG5mm+DTv5oRYNIABqsqcGJyNL0Jy9pfxO70R5rBaWNFtogp,"
        "p=DMuOKMK1qzBBU3eTtFIQVqmcCdohmnrc36EzZo6cmyo=",
        "v=3vgAuEq0GWx6tzthZYYWKodOMDcM3gsMnmaIVVCAp1U="}},
      {"Bound",
       {kScramSha256Plus, kScramSha256},
       "272809018d430a45a72314049d16d5732b1d6db4a5cdebbef57ff9f257e5f2c3"_wire,
       "rpv+EvxjaZuEpNM6gAmmkMob",
       "B9z6zT72n238E4Kj6T6TWk5I",
       {"p=tls-server-end-point,,n=,r=rpv+EvxjaZuEpNM6gAmmkMob",
        "r=rpv+EvxjaZuEpNM6gAmmkMobB9z6zT72n238E4Kj6T6TWk5I,s=veWIwUz48iJMYWeU26l5TA==,i=4096",
        "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsJygJAY1DCkWnIxQEnRbVcysdbbSlzeu+9X/58lfl8sM=,"
        "r=rpv+EvxjaZuEpNM6gAmmkMobB9z6zT72n238E4Kj6T6TWk5I,p=Cu0AfhhObCDYj2zGmRoFbLn3jdN49tbSR+u237751bw=",
        "v=RwK2Ei7o9b4co3usDSBcYFkcZwx7BMTJLOCBKt41gEc="}}};
  return rows;
}

class ScramTranscript : public testing::TestWithParam<Transcript> {};

TEST_P(ScramTranscript, IsWhatOurClientSays) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  ScramClient client(hash, {ChannelBinding::prefer, !row.end_point.empty(), row.end_point},
                     std::string(row.client_nonce));
  const auto start = client.start(row.offered);
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->mechanism, row.offered.front());
  EXPECT_EQ(start->client_first, row.messages[kClientFirst]);
  const auto salting = client.take_server_first(as_bytes(row.messages[kServerFirst]));
  ASSERT_TRUE(salting.has_value());
  EXPECT_EQ(client.answer(keys_of(salted_password("secret", *salting), hash)), row.messages[kClientFinal]);
  EXPECT_FALSE(client.finished());
  EXPECT_TRUE(client.take_server_final(as_bytes(row.messages[kServerFinal])).has_value());
  EXPECT_TRUE(client.finished());
}

TEST_P(ScramTranscript, IsWhatOurServerSays) {
  const auto& row = GetParam();
  const test::ScramHash hash;
  EXPECT_EQ(scram_mechanisms(!row.end_point.empty()), row.offered);
  ScramServer server(hash, *parse_scram_secret(kSecretText), row.end_point, std::string(row.server_nonce));
  EXPECT_EQ(server.take_initial_response({row.offered.front(), as_bytes(row.messages[kClientFirst])}),
            row.messages[kServerFirst]);
  EXPECT_FALSE(server.finished());
  EXPECT_EQ(server.take_response(as_bytes(row.messages[kClientFinal])), row.messages[kServerFinal]);
  EXPECT_TRUE(server.finished());
}

INSTANTIATE_TEST_SUITE_P(Postgres15, ScramTranscript, testing::ValuesIn(transcripts()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace pgveil::protocol
