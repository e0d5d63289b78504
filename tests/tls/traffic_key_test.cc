// Records of TLS 1.3 under one key: against the traces of RFC 8448, against another key, and against whoever
// changes one.
#include "tls/traffic_key.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgveil::tls::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

// Octets as RFCs write them.
Bytes octets(std::string_view hexadecimal) {
  Bytes bytes;
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

// The content, or nothing.
std::optional<Bytes> opened(TrafficKey& key, ByteView record) {
  Bytes content(record.size());
  const auto result = key.open(record, content);
  if (!result) return std::nullopt;
  content.resize(result->size);
  return content;
}

// --- RFC 8448, 3: a simple 1-RTT handshake, TLS_AES_128_GCM_SHA256 ---

const Bytes kClientSecret =
    octets("9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5");
const Bytes kClientRecord = octets(
    "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 "
    "19 "
    "a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 "
    "49 "
    "15 e4");
const Bytes kClientCloseNotify =
    octets("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3");

Bytes fifty_octets() {
  Bytes content;
  for (std::uint8_t octet = 0; octet < 50; ++octet) content.push_back(octet);
  return content;
}

TEST(Rfc8448, IsWhatIsSealed) {
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kClientSecret), TrafficKey::Use::seal);
  EXPECT_EQ(sealed(key, ContentType::application_data, fifty_octets()), kClientRecord);
  EXPECT_EQ(sealed(key, ContentType::alert, Bytes{1, 0}), kClientCloseNotify);
}

TEST(Rfc8448, IsOpened) {
  TrafficKey key(*find_cipher_suite(0x1301), TrafficSecret(kClientSecret), TrafficKey::Use::open);
  EXPECT_EQ(opened(key, kClientRecord), fifty_octets());
  EXPECT_EQ(opened(key, kClientCloseNotify), (Bytes{1, 0}));
  EXPECT_EQ(key.records(), 2U);
}

// --- each cipher suite ---

struct Suite {
  const char* name;
  std::uint32_t id;
  std::size_t secret_bytes;
};
void PrintTo(const Suite& row, std::ostream* out) {
  *out << row.name;
}

class TrafficKeys : public testing::TestWithParam<Suite> {
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
  // What the type of a record is to others is a zero more here.
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
    Suite{"Aes128Gcm", 0x1301, 32},
    Suite{"Aes256Gcm", 0x1302, 48},
    Suite{"ChaCha20Poly1305", 0x1303, 32}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(CipherSuites, OfOtherKindsAreNotKnown) {
  EXPECT_EQ(find_cipher_suite(0x1304), nullptr);  // AES-CCM
  EXPECT_EQ(find_cipher_suite(0xc02f), nullptr);  // of TLS 1.2
}

}  // namespace
}  // namespace pgveil::tls::test
