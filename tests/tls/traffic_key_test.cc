// Records of TLS 1.3 under one key: compared with the traces of RFC 8448, opened with another key, and
// changed in transit.
#include "tls/internal/traffic_key.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::tls::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Parses bytes as RFCs print them.
Bytes from_hex(std::string_view hexadecimal) {
  Bytes bytes;
  bytes.reserve(hexadecimal.size() / 2);
  std::string digits;
  for (const char character : hexadecimal) {
    if (character == ' ' || character == '\n') continue;
    digits += character;
    if (digits.size() < 2) continue;
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return bytes;
}

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

Bytes sealed(TrafficKey& key, ContentType type, ByteView content) {
  Bytes record(content.size() + TrafficKey::kOverhead);
  EXPECT_TRUE(key.seal(type, content, record));
  return record;
}

// Returns the content; nullopt after a fault.
std::optional<Bytes> opened(TrafficKey& key, ByteView record) {
  Bytes content(record.size());
  const auto result = key.open(record, content);
  if (!result) return std::nullopt;
  content.resize(result->size);
  return content;
}

// --- RFC 8448, 3: a simple 1-RTT handshake, TLS_AES_128_GCM_SHA256 ---

const Bytes kClientSecret = from_hex(
    "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5");
const Bytes kClientRecord = from_hex(
    "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 "
    "19 "
    "a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 "
    "49 "
    "15 e4");
const Bytes kClientCloseNotify =
    from_hex("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3");

Bytes fifty_octets() {
  Bytes content;
  for (std::uint8_t octet = 0; octet < 50; ++octet) content.push_back(octet);
  return content;
}

const Bytes kServerSecret = from_hex(
    "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43");
// The server's key first seals a NewSessionTicket.
const Bytes kServerTicket = from_hex(
    "17 03 03 00 de 3a 6b 8f 90 41 4a 97 d6 95 9c 34 87 68 0d e5 13 4a 2b 24 0e 6c ff ac 11 6e 95 d4 1d 6a "
    "f8 f6 "
    "b5 80 dc f3 d1 1d 63 c7 58 db 28 9a 01 59 40 25 2f 55 71 3e 06 1d c1 3e 07 88 91 a3 8e fb cf 57 53 ad "
    "8e f1 "
    "70 ad 3c 73 53 d1 6d 9d a7 73 b9 ca 7f 2b 9f a1 b6 c0 d4 a3 d0 3f 75 e0 9c 30 ba 1e 62 97 2a c4 6f 75 "
    "f7 b9 "
    "81 be 63 43 9b 29 99 ce 13 06 46 15 13 98 91 d5 e4 c5 b4 06 f1 6e 3f c1 81 a7 7c a4 75 84 00 25 db 2f "
    "0a 77 "
    "f8 1b 5a b0 5b 94 c0 13 46 75 5f 69 23 2c 86 51 9d 86 cb ee ac 87 aa c3 47 d1 43 f9 60 5d 64 f6 50 db "
    "4d 02 "
    "3e 70 e9 52 ca 49 fe 51 37 12 1c 74 bc 26 97 68 7e 24 87 46 d6 df 35 30 05 f3 bc e1 86 96 12 9c 81 53 "
    "55 6b "
    "3b 6c 67 79 b3 7b f1 59 85 68 4f");
const Bytes kServerRecord = from_hex(
    "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e "
    "fa f9 "
    "7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 "
    "95 5d");
const Bytes kServerCloseNotify =
    from_hex("17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9");

TEST(Rfc8448, IsWhatAClientSeals) {
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kClientSecret), TrafficKey::Use::seal);
  EXPECT_EQ(sealed(key, ContentType::application_data, fifty_octets()), kClientRecord);
  EXPECT_EQ(sealed(key, ContentType::alert, Bytes{1, 0}), kClientCloseNotify);
}

TEST(Rfc8448, IsOpenedByAServer) {
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kClientSecret), TrafficKey::Use::open);
  EXPECT_EQ(opened(key, kClientRecord), fifty_octets());
  EXPECT_EQ(opened(key, kClientCloseNotify), (Bytes{1, 0}));
  EXPECT_EQ(key.records(), 2U);
}

TEST(Rfc8448, IsOpenedByAClient) {
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kServerSecret), TrafficKey::Use::open);
  const auto ticket = opened(key, kServerTicket);
  ASSERT_TRUE(ticket);
  EXPECT_EQ(ticket->size(), 205U);
  EXPECT_EQ(Bytes(ticket->begin(), ticket->begin() + 12), from_hex("04 00 00 c9 00 00 00 1e fa d6 aa c5"));
  EXPECT_EQ(opened(key, kServerRecord), fifty_octets());
  EXPECT_EQ(opened(key, kServerCloseNotify), (Bytes{1, 0}));
  EXPECT_EQ(key.records(), 3U);
}

TEST(Rfc8448, IsWhatAServerSeals) {
  TrafficKey open(*find_cipher_suite(0x1301), TrafficSecret(kServerSecret), TrafficKey::Use::open);
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kServerSecret), TrafficKey::Use::seal);
  EXPECT_EQ(sealed(key, ContentType::handshake, opened(open, kServerTicket).value()), kServerTicket);
  EXPECT_EQ(sealed(key, ContentType::application_data, fifty_octets()), kServerRecord);
  EXPECT_EQ(sealed(key, ContentType::alert, Bytes{1, 0}), kServerCloseNotify);
}

// --- known_answers.py: each suite, numbers of any size, three later keys ---

constexpr const char* kPython = "/usr/bin/python3";

struct KnownAnswer {
  std::uint32_t suite;
  TrafficSecret secret;
  int generation;
  std::uint64_t number;
  ContentType type;
  Bytes content;
  std::size_t padding;
  Bytes record;
};

std::vector<KnownAnswer> known_answers() {
  std::string text;
  FILE* script = ::popen((std::string(kPython) + " -B " PGVEIL_TLS_TESTS "/known_answers.py").c_str(), "r");
  std::array<char, 4'096> memory;
  while (const std::size_t size = std::fread(memory.data(), 1, memory.size(), script))
    text.append(memory.data(), size);
  if (::pclose(script) != 0) return {};
  std::vector<KnownAnswer> answers;
  std::istringstream in(text);
  std::string secret;
  std::string content;
  std::string record;
  int type = 0;
  KnownAnswer answer;
  while (in >> answer.suite >> secret >> answer.generation >> answer.number >> type >> content >>
         answer.padding >> record) {
    answer.secret = TrafficSecret(from_hex(secret));
    answer.type = ContentType{static_cast<std::uint8_t>(type)};
    answer.content = content == "-" ? Bytes() : from_hex(content);
    answer.record = from_hex(record);
    answers.push_back(answer);
  }
  return answers;
}

TEST(KnownAnswers, AreWhatIsSealedAndOpened) {
  if (::access(PGVEIL_TLS_TESTS "/known_answers.py", R_OK) != 0 || ::access(kPython, X_OK) != 0)
    GTEST_SKIP() << "this program runs in another Debian than that in which it was built";
  const auto answers = known_answers();
  ASSERT_EQ(answers.size(), 3U * (16 + 3 * 7)) << "known_answers.py needs python3-cryptography";
  for (const KnownAnswer& answer : answers) {
    const auto& suite = *find_cipher_suite(answer.suite);
    // The record numbers of a later key begin with 0.
    const std::uint64_t first = answer.generation == 0 ? answer.number : 0;
    TrafficKey seal(suite, answer.secret, TrafficKey::Use::seal, first);
    TrafficKey open(suite, answer.secret, TrafficKey::Use::open, first);
    for (int i = 0; i < answer.generation; ++i) {
      seal.update();
      open.update();
    }
    for (std::uint64_t i = first; i < answer.number; ++i)
      ASSERT_TRUE(opened(open, sealed(seal, ContentType::application_data, {})));
    const auto result = opened(open, answer.record);
    ASSERT_TRUE(result) << answer.suite << ' ' << answer.generation << ' ' << answer.number;
    EXPECT_TRUE(*result == answer.content);
    // With a type of 0, the real type and the padding are a part of the content.
    Bytes content = answer.content;
    if (answer.padding > 0) {
      content.push_back(static_cast<std::uint8_t>(answer.type));
      content.resize(content.size() + answer.padding - 1);
    }
    EXPECT_TRUE(sealed(seal, answer.padding > 0 ? ContentType{0} : answer.type, content) == answer.record)
        << answer.suite << ' ' << answer.generation << ' ' << answer.number;
  }
}

// --- each cipher suite ---

struct TestedSuite {
  const char* name;
  std::uint32_t id;
  std::size_t secret_bytes;
};
void PrintTo(const TestedSuite& row, std::ostream* out) {
  *out << row.name;
}

class TrafficKeys : public testing::TestWithParam<TestedSuite> {
 protected:
  TrafficKey key(std::uint8_t octet, TrafficKey::Use use) {
    return {*find_cipher_suite(GetParam().id), TrafficSecret(Bytes(GetParam().secret_bytes, octet)), use};
  }

  TrafficKey seal_ = key('s', TrafficKey::Use::seal);
  TrafficKey open_ = key('s', TrafficKey::Use::open);
};

TEST_P(TrafficKeys, OpenWhatWasSealedWhateverItsSize) {
  for (const std::size_t size : {0U, 1U, 15U, 16U, 17U, 255U, 4'096U, 16'383U, 16'384U}) {
    Bytes content(size);
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<std::uint8_t>(i * 7);
    EXPECT_TRUE(opened(open_, sealed(seal_, ContentType::application_data, content)) == content) << size;
  }
}

TEST_P(TrafficKeys, TellTheTypeBehindThePadding) {
  Bytes memory(100);
  // The type of an ordinary record is replaced by one more zero of padding.
  const auto padded = sealed(seal_, ContentType{0}, bytes_of(std::string("text\x17\0\0\0", 8)));
  const auto result = open_.open(padded, memory);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->type, 0x17);
  EXPECT_EQ(result->size, 4U);
  const auto nothing = open_.open(sealed(seal_, ContentType{0}, Bytes(5, 0)), memory);
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->type, 0);
}

TEST_P(TrafficKeys, DoNotOpenWhatWasChangedAnywhere) {
  const Bytes record = sealed(seal_, ContentType::application_data, bytes_of("SELECT 1"));
  for (std::size_t place = 0; place < record.size(); ++place) {
    Bytes changed = record;
    changed[place] ^= 0x20U;
    TrafficKey fresh = key('s', TrafficKey::Use::open);
    EXPECT_FALSE(opened(fresh, changed)) << place;
  }
  EXPECT_TRUE(opened(open_, record));
}

TEST_P(TrafficKeys, DoNotOpenARecordTwice) {
  const Bytes record = sealed(seal_, ContentType::application_data, bytes_of("INSERT"));
  EXPECT_TRUE(opened(open_, record));
  EXPECT_FALSE(opened(open_, record));
}

TEST_P(TrafficKeys, DoNotOpenRecordsOutOfOrder) {
  const Bytes first = sealed(seal_, ContentType::application_data, bytes_of("one"));
  const Bytes second = sealed(seal_, ContentType::application_data, bytes_of("two"));
  EXPECT_FALSE(opened(open_, second));
}

TEST_P(TrafficKeys, DoNotOpenWhatAnotherKeySealed) {
  TrafficKey other = key('o', TrafficKey::Use::seal);
  EXPECT_FALSE(opened(open_, sealed(other, ContentType::application_data, bytes_of("text"))));
}

TEST_P(TrafficKeys, NeverSealTheSameTwiceInTheSameWay) {
  std::vector<Bytes> records;
  for (int i = 0; i < 300; ++i) {
    const Bytes record = sealed(seal_, ContentType::application_data, bytes_of("again"));
    for (const auto& earlier : records) EXPECT_NE(record, earlier);
    records.push_back(record);
  }
}

TEST_P(TrafficKeys, AreInStepAfterAnUpdate) {
  const Bytes before = sealed(seal_, ContentType::application_data, bytes_of("text"));
  EXPECT_TRUE(opened(open_, before));
  seal_.update();
  open_.update();
  EXPECT_EQ(open_.records(), 0U);
  const Bytes after = sealed(seal_, ContentType::application_data, bytes_of("text"));
  EXPECT_NE(after, before);
  EXPECT_EQ(opened(open_, after), bytes_of("text"));
}

TEST_P(TrafficKeys, OfTheLastGenerationOpenNothingAfterAnUpdate) {
  seal_.update();
  EXPECT_FALSE(opened(open_, sealed(seal_, ContentType::application_data, bytes_of("text"))));
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Suites, TrafficKeys, testing::Values(
    TestedSuite{"Aes128Gcm", 0x1301, 32},
    TestedSuite{"Aes256Gcm", 0x1302, 48},
    TestedSuite{"ChaCha20Poly1305", 0x1303, 32}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(CipherSuites, OfOtherKindsAreNotKnown) {
  EXPECT_EQ(find_cipher_suite(0x1304), nullptr);  // AES-CCM
  EXPECT_EQ(find_cipher_suite(0xc02f), nullptr);  // of TLS 1.2
}

}  // namespace
}  // namespace pgveil::tls::test
