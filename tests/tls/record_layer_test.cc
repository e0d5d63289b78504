// The records after a handshake of TLS 1.3, with a peer that has the right keys and sends any content.
// engine_test.cc and engine_failure_test.cc have the same with OpenSSL as the peer.
#include "tls/internal/record_layer.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

using Status = Engine::Status;
using namespace std::string_literals;

constexpr std::uint32_t kSuite = 0x1302;

// Returns the pieces in their order. The elements of a list are evaluated in order, which is important for
// sealing.
Bytes joined(std::initializer_list<Bytes> pieces) {
  Bytes all;
  for (const auto& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

// The peer: seals any content, and opens received records.
class Peer {
 public:
  Peer() { begin(0); }
  // Starts again, with this record number.
  void begin(std::uint64_t first_record) {
    seal_.emplace(*find_cipher_suite(kSuite), TrafficSecret(Bytes(48, 'p')), TrafficKey::Use::seal,
                  first_record);
    open_.emplace(*find_cipher_suite(kSuite), TrafficSecret(Bytes(48, 'o')), TrafficKey::Use::open,
                  first_record);
  }

  Bytes says(ContentType type, std::string_view content) {
    Bytes record(content.size() + TrafficKey::kOverhead);
    if (!seal_->seal(type, bytes_of(content), record)) throw std::runtime_error("the peer cannot seal it");
    return record;
  }
  Bytes data(std::string_view text) { return says(ContentType::application_data, text); }
  // Returns a KeyUpdate, and replaces the peer's own key. `request`: 1 requests a KeyUpdate of ours.
  Bytes key_update(char request) {
    const Bytes record = says(ContentType::handshake, std::string("\x18\0\0\1", 4) + request);
    seal_->update();
    return record;
  }
  // The type and the content of one record. hears() also follows key updates.
  struct Heard {
    ContentType type;
    std::string content;
    friend bool operator==(const Heard&, const Heard&) = default;
  };
  std::vector<Heard> hears(ByteView bytes) {
    std::vector<Heard> all;
    while (!bytes.empty()) {
      const std::size_t size = TrafficKey::kHeaderBytes + (std::size_t{bytes[3]} << 8U) + bytes[4];
      Bytes content(size);
      const auto opened = open_->open(bytes.first(size), content);
      if (!opened) throw std::runtime_error("the peer cannot open it");
      all.push_back(
          {ContentType{opened->type}, {content.begin(), content.begin() + std::ptrdiff_t(opened->size)}});
      if (all.back().type == ContentType::handshake) open_->update();
      bytes = bytes.subspan(size);
    }
    return all;
  }

 private:
  std::optional<TrafficKey> seal_;
  std::optional<TrafficKey> open_;
};

using Heard = Peer::Heard;
Heard heard_data(std::string content) {
  return {ContentType::application_data, std::move(content)};
}
Heard heard_alert(char level, char number) {
  return {ContentType::alert, {level, number}};
}
const Heard kHeardKeyUpdate = {ContentType::handshake, std::string("\x18\0\0\1\0", 5)};

class Records : public testing::Test {
 protected:
  void SetUp() override {
    // Loads OpenSSL's error texts. In pgveil the handshake has loaded them.
    OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr);
    ERR_clear_error();
    make(true);
  }

  void make(bool is_client, std::size_t most_content = TrafficKey::kMaxContent,
            KeyLimits key_limits = {.records = 1'000, .bytes = 1'000'000}, std::uint64_t first_record = 0) {
    layer_ = std::make_unique<RecordLayer>(RecordLayer::Agreement{.suite = *find_cipher_suite(kSuite),
                                                                  .read = TrafficSecret(Bytes(48, 'p')),
                                                                  .write = TrafficSecret(Bytes(48, 'o')),
                                                                  .is_client = is_client,
                                                                  .most_content = most_content,
                                                                  .key_limits = key_limits,
                                                                  .first_record = first_record});
  }

  // Reads all bytes. Appends the plaintext to text_, and the bytes to be sent to sent_.
  Status read(const Bytes& bytes, std::size_t room = 100'000) {
    ByteView ciphertext(bytes);
    Bytes plaintext(room);
    for (;;) {
      Bytes memory(1'000);
      Outgoing out(memory);
      const auto [status, size] = layer_->read(ciphertext, plaintext, out);
      text_.append(plaintext.begin(), plaintext.begin() + static_cast<std::ptrdiff_t>(size));
      sent_ = joined({sent_, {out.written().begin(), out.written().end()}});
      if (status != Status::ready) return status;
    }
  }
  std::vector<Heard> write(std::string_view text) {
    const Bytes bytes = bytes_of(text);
    ByteView plaintext(bytes);
    Bytes memory(100'000);
    Outgoing out(memory);
    EXPECT_EQ(layer_->write(plaintext, out), Status::ready);
    return peer_.hears(out.written());
  }

  Peer peer_;
  std::unique_ptr<RecordLayer> layer_;
  std::string text_;
  Bytes sent_;
};

// --- valid records ---

TEST_F(Records, AreReadHoweverTheyAreCut) {
  const Bytes all = joined({peer_.data("one "), peer_.data(""), peer_.data("two "), peer_.key_update(0),
                            peer_.data("three"), peer_.says(ContentType::alert, std::string("\1\0", 2))});
  for (std::size_t first = 0; first <= all.size(); ++first) {
    make(true);
    text_.clear();
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(first);
    (void)read({all.begin(), middle});
    ASSERT_EQ(read({middle, all.end()}), Status::closed) << first;
    ASSERT_EQ(text_, "one two three") << first;
  }
}

TEST_F(Records, AreReadIntoWhateverRoomThereIs) {
  const Bytes all = joined({peer_.data("one two three"), peer_.data(" four")});
  EXPECT_EQ(read(all, 4), Status::want_input);
  EXPECT_EQ(text_, "one two three four");
}

TEST_F(Records, WithPaddingAreReadWithoutIt) {
  EXPECT_EQ(read(peer_.says(ContentType{0}, std::string("text\x17\0\0\0\0", 9))), Status::want_input);
  EXPECT_EQ(text_, "text");
}

TEST_F(Records, BehindCloseNotifyAreNotRead) {
  EXPECT_EQ(read(joined({peer_.says(ContentType::alert, std::string("\1\0", 2)), peer_.data("late")})),
            Status::closed);
  EXPECT_EQ(text_, "");
  EXPECT_TRUE(sent_.empty());
}

TEST_F(Records, GoOnWhereTheUserOfThePeerHasCancelled) {
  EXPECT_EQ(read(joined({peer_.says(ContentType::alert, "\1\x5a"), peer_.data("text")})), Status::want_input);
  EXPECT_EQ(text_, "text");
}

TEST_F(Records, TicketsAreLetGoOfHoweverTheyAreCut) {
  const std::string ticket = std::string("\4\0\0\x10", 4) + std::string(16, 't');
  EXPECT_EQ(read(joined({peer_.says(ContentType::handshake, ticket + ticket.substr(0, 3)),
                         peer_.says(ContentType::handshake, ticket.substr(3)), peer_.data("text")})),
            Status::want_input);
  EXPECT_EQ(text_, "text");
}

TEST_F(Records, WithoutDataAreManyAsLongAsSomeComesBetween) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(read(joined({peer_.data(""), peer_.key_update(0), peer_.data(".")})), Status::want_input);
  }
  EXPECT_EQ(text_, std::string(100, '.'));
}

TEST_F(Records, TicketsAreOfAnySize) {
  const std::string part(16'000, 't');
  EXPECT_EQ(read(joined({peer_.says(ContentType::handshake, std::string("\4\1\x77\0", 4)),  // 96,000 bytes
                         peer_.says(ContentType::handshake, part), peer_.says(ContentType::handshake, part),
                         peer_.says(ContentType::handshake, part), peer_.says(ContentType::handshake, part),
                         peer_.says(ContentType::handshake, part), peer_.says(ContentType::handshake, part),
                         peer_.data("text")})),
            Status::want_input);
  EXPECT_EQ(text_, "text");
}

TEST_F(Records, ANewKeyOfThePeersIsFollowed) {
  EXPECT_EQ(read(joined({peer_.data("one "), peer_.key_update(0), peer_.data("two")})), Status::want_input);
  EXPECT_EQ(text_, "one two");
  EXPECT_EQ(write("no wish"), std::vector{heard_data("no wish")});
}

TEST_F(Records, AWishForANewKeyIsMetBeforeTheNextData) {
  EXPECT_EQ(read(joined({peer_.key_update(1), peer_.key_update(1)})), Status::want_input);
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(write("text"), (std::vector{kHeardKeyUpdate, heard_data("text")}));
  EXPECT_EQ(write("more"), std::vector{heard_data("more")});
}

TEST_F(Records, AKeyIsReplacedAfterSoManyOctetsOnTheWire) {
  make(true, 10, {.records = 1'000, .bytes = 3 * (10 + TrafficKey::kOverhead)});
  const auto heard = write(std::string(50, 'x'));
  const auto piece = heard_data(std::string(10, 'x'));
  EXPECT_EQ(heard, (std::vector{piece, piece, piece, kHeardKeyUpdate, piece, piece}));
}

TEST_F(Records, AKeyIsReplacedAfterSoManyRecords) {
  make(true, 10, {.records = 2, .bytes = 1'000'000});
  const auto piece = heard_data(std::string(10, 'x'));
  EXPECT_EQ(write(std::string(30, 'x')), (std::vector{piece, piece, kHeardKeyUpdate, piece}));
}

// The limit of AES-GCM is 2^24.5 records (RFC 8446, 5.5).
TEST_F(Records, AKeyIsReplacedInTimeUnlessTestsSayOtherwise) {
  EXPECT_EQ(KeyLimits{}.records, std::uint64_t{1} << 24U);
  EXPECT_LT(KeyLimits{}.bytes, std::uint64_t{23'726'566} * (TrafficKey::kMaxContent + TrafficKey::kOverhead));
}

// The receiver, which has nothing to send, requests a new key, and does so only once until it arrives.
TEST_F(Records, ThePeerIsAskedForANewKeyOnceItsOwnIsUsedUp) {
  const Heard asks = {ContentType::handshake, "\x18\0\0\1\1"s};
  for (const KeyLimits limits : {KeyLimits{.records = 2, .bytes = 1'000'000},
                                 KeyLimits{.records = 1'000, .bytes = 2 * (1 + TrafficKey::kOverhead)}}) {
    peer_.begin(0);
    make(true, TrafficKey::kMaxContent, limits);
    sent_.clear();
    EXPECT_EQ(read(joined({peer_.data("1"), peer_.data("2"), peer_.data("3"), peer_.data("4")})),
              Status::want_input);
    EXPECT_EQ(peer_.hears(std::exchange(sent_, {})), std::vector{asks});
    EXPECT_EQ(read(joined({peer_.key_update(0), peer_.data("5")})), Status::want_input);
    EXPECT_TRUE(sent_.empty());
    EXPECT_EQ(read(joined({peer_.data("6"), peer_.data("7")})), Status::want_input);
    EXPECT_EQ(peer_.hears(std::exchange(sent_, {})), std::vector{asks});
    EXPECT_EQ(write("text"), std::vector{heard_data("text")});
  }
}

// JSSE requests a new key with each record that it reads after jdk.tls.keyLimits, until the new key has
// arrived.
TEST_F(Records, KeyUpdatesMayBeAsManyAsTheRecordsThatWereSent) {
  make(true, 1, {.records = 1'000'000, .bytes = 1'000'000'000});
  std::string text(100, 'x');
  static_cast<void>(write(text));
  static_cast<void>(read(peer_.data("a next statement")));
  for (int i = 0; i < 132; ++i) ASSERT_EQ(read(peer_.key_update(1)), Status::want_input) << i;
  EXPECT_EQ(read(peer_.key_update(1)), Status::failed);
  EXPECT_EQ(take_openssl_error(), "unexpected record");
}

TEST_F(Records, ATicketMayComeInAsManyPartsAsItHasOctets) {
  const std::string ticket = std::string("\4\0\0\xc8", 4) + std::string(200, 't');
  for (const char octet : ticket)
    ASSERT_EQ(read(peer_.says(ContentType::handshake, std::string(1, octet))), Status::want_input);
  EXPECT_EQ(read(peer_.data("text")), Status::want_input);
  EXPECT_EQ(text_, "text");
}

TEST_F(Records, TheRegularEndIsNeverRefused) {
  for (int i = 0; i < 32; ++i) ASSERT_EQ(read(peer_.data("")), Status::want_input);
  EXPECT_EQ(read(peer_.says(ContentType::alert, std::string("\1\0", 2))), Status::closed);
}

// A session ends before its record numbers start again: a number that is used twice would reveal the
// plaintext.
TEST_F(Records, WithoutANumberEndTheSession) {
  constexpr std::uint64_t kLast = UINT64_MAX - 2;
  peer_.begin(kLast);
  make(true, TrafficKey::kMaxContent, {.records = UINT64_MAX, .bytes = UINT64_MAX}, kLast);
  EXPECT_EQ(read(joined({peer_.data("one"), peer_.data("two")})), Status::want_input);
  EXPECT_EQ(text_, "onetwo");
  sent_.clear();  // the request for a new key, which had no effect
  EXPECT_EQ(read(Bytes{23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), Status::failed);
  EXPECT_EQ(take_openssl_error(), "internal error");
  EXPECT_FALSE(sent_.empty());
}

TEST_F(Records, AreNotWrittenWithoutANumber) {
  make(true, 1, {.records = UINT64_MAX, .bytes = UINT64_MAX}, UINT64_MAX - 2);
  peer_.begin(UINT64_MAX - 2);
  const Bytes bytes = bytes_of("abc");
  ByteView plaintext(bytes);
  Bytes memory(1'000);
  Outgoing out(memory);
  EXPECT_EQ(layer_->write(plaintext, out), Status::failed);
  EXPECT_EQ(take_openssl_error(), "internal error");
  EXPECT_EQ(peer_.hears(out.written()), (std::vector{heard_data("a"), heard_data("b")}));
}

TEST_F(Records, AreNoLargerThanThePeerWants) {
  make(false, 512);
  EXPECT_EQ(write(std::string(1'000, 'x')),
            (std::vector{heard_data(std::string(512, 'x')), heard_data(std::string(488, 'x'))}));
}

TEST_F(Records, CarryWhatThereIsRoomFor) {
  const Bytes bytes = bytes_of("one two");
  ByteView plaintext(bytes);
  Bytes memory(TrafficKey::kOverhead + 4);
  Outgoing out(memory);
  EXPECT_EQ(layer_->write(plaintext, out), Status::want_room);
  EXPECT_EQ(peer_.hears(out.written()), std::vector{heard_data("one ")});
  EXPECT_EQ(plaintext.size(), 3U);
}

TEST_F(Records, AreNotWrittenBehindCloseNotify) {
  const Bytes bytes = bytes_of("late");
  ByteView plaintext(bytes);
  Bytes memory(1'000);
  Outgoing out(memory);
  layer_->close(out);
  EXPECT_EQ(layer_->write(plaintext, out), Status::failed);
  EXPECT_EQ(peer_.hears(out.written()), std::vector{heard_alert(1, SSL_AD_CLOSE_NOTIFY)});
}

// --- invalid records ---

struct Fault {
  const char* name;
  std::vector<Heard> said;
  int answer;  // the alert that is sent; 0: none
  const char* reason;
  bool at_server = false;
};
void PrintTo(const Fault& row, std::ostream* out) {
  *out << row.name;
}

class Faults : public Records, public testing::WithParamInterface<Fault> {};

TEST_P(Faults, EndWithAnAlertAndWhatIsWrong) {
  make(!GetParam().at_server);
  Bytes all = peer_.data("good");
  for (const auto& record : GetParam().said) all = joined({all, peer_.says(record.type, record.content)});
  all = joined({all, peer_.data("behind")});
  EXPECT_EQ(read(all), Status::failed);
  EXPECT_EQ(text_, "good");
  EXPECT_EQ(take_openssl_error(), GetParam().reason);
  const auto answer = GetParam().answer == 0
                          ? std::vector<Heard>{}
                          : std::vector{heard_alert(2, static_cast<char>(GetParam().answer))};
  EXPECT_EQ(peer_.hears(sent_), answer);
}

Heard handshake(std::string content) {
  return {ContentType::handshake, std::move(content)};
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Rfc8446, Faults, testing::Values(
    Fault{"AFatalAlert", {heard_alert(2, SSL_AD_CERTIFICATE_REQUIRED)}, 0, "tlsv13 alert certificate required"},
    Fault{"AnAlertThatIsCalledAWarning", {heard_alert(1, SSL_AD_ACCESS_DENIED)}, 0, "tlsv1 alert access denied"},
    Fault{"AnAlertOfOneOctet", {{ContentType::alert, "\1"}}, SSL_AD_DECODE_ERROR, "invalid alert"},
    Fault{"AnAlertOfNothing", {{ContentType::alert, ""}}, SSL_AD_UNEXPECTED_MESSAGE, "invalid alert"},
    Fault{"TwoAlertsInARecord", {{ContentType::alert, "\1\0\1\0"s}}, SSL_AD_DECODE_ERROR, "invalid alert"},
    Fault{"NothingButPadding", {{ContentType{0}, "\0\0"s}}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    Fault{"ChangeCipherSpec", {{ContentType{20}, "\1"}}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    Fault{"AnUnknownType", {{ContentType{99}, "x"}}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    Fault{"AnEmptyMessage", {handshake("")}, SSL_AD_UNEXPECTED_MESSAGE, "unexpected record"},
    Fault{"AMessageWithDataInside", {handshake("\4\0\0"s), heard_data("x")}, SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected record"},
    Fault{"ATicketWithDataInside", {handshake("\4\0\0\x5tick"s), heard_data("x")}, SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected record"},
    Fault{"AnAlertInsideAMessage", {handshake("\4\0\0"s), heard_alert(2, SSL_AD_ACCESS_DENIED)}, 0,
          "tlsv1 alert access denied"},
    Fault{"AClientHello", {handshake("\1\0\0\0"s)}, SSL_AD_UNEXPECTED_MESSAGE, "unexpected message"},
    Fault{"ACertificateRequest", {handshake("\x0d\0\0\0"s)}, SSL_AD_UNEXPECTED_MESSAGE, "unexpected message"},
    Fault{"ATicketFromAClient", {handshake("\4\0\0\0"s)}, SSL_AD_UNEXPECTED_MESSAGE, "unexpected message", true},
    Fault{"ABeginningOfAFinished", {handshake("\x14\0\0\x20"s)}, SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected message"},
    Fault{"ATicketThatIsLongerThanAnyCanBe", {handshake("\4\2\1\xb\0"s)}, SSL_AD_ILLEGAL_PARAMETER,
          "excessive message size"},
    Fault{"TicketsWithoutEnd", std::vector<Heard>(33, handshake("\4\0\0\1t"s)), SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected record"},
    Fault{"NothingWithoutEnd", std::vector<Heard>(33, heard_data("")), SSL_AD_UNEXPECTED_MESSAGE, "unexpected record"},
    Fault{"AKeyUpdateOfNothing", {handshake("\x18\0\0\0"s)}, SSL_AD_DECODE_ERROR, "bad key update"},
    Fault{"AKeyUpdateWithAnUnknownRequest", {handshake("\x18\0\0\1\2"s)}, SSL_AD_ILLEGAL_PARAMETER,
          "bad key update"},
    Fault{"AKeyUpdateWithMoreBehindIt", {handshake("\x18\0\0\1\0\x18"s)}, SSL_AD_UNEXPECTED_MESSAGE,
          "not on record boundary"},
    Fault{"TheOldKeyBehindAKeyUpdate", {handshake("\x18\0\0\1\0"s), heard_data("x")}, SSL_AD_BAD_RECORD_MAC,
          "decryption failed or bad record mac"},
    Fault{"MoreThanARecordHolds", {{ContentType{0}, std::string(16'383, 'x') + "\x17\0"s}},
          SSL_AD_RECORD_OVERFLOW, "data length too long"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct BadHeader {
  const char* name;
  Bytes header;
  int answer;
  const char* reason;
};
void PrintTo(const BadHeader& row, std::ostream* out) {
  *out << row.name;
}

class BadHeaders : public Records, public testing::WithParamInterface<BadHeader> {};

// A header that announces an invalid record is refused before the rest arrives.
TEST_P(BadHeaders, AreRefusedAsSoonAsTheyAreThere) {
  EXPECT_EQ(read(GetParam().header), Status::failed);
  EXPECT_EQ(take_openssl_error(), GetParam().reason);
  EXPECT_EQ(peer_.hears(sent_), std::vector{heard_alert(2, static_cast<char>(GetParam().answer))});
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Rfc8446, BadHeaders, testing::Values(
    BadHeader{"OfAPlaintextAlert", {21, 3, 3, 0, 2}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    BadHeader{"OfChangeCipherSpec", {20, 3, 3, 0, 1}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    BadHeader{"OfAHandshake", {22, 3, 3, 0, 100}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    BadHeader{"OfPlaintext", {'Q', 0, 0, 0, 5}, SSL_AD_UNEXPECTED_MESSAGE, "bad record type"},
    BadHeader{"OverTheLimit", {23, 3, 3, 0x41, 0x01}, SSL_AD_RECORD_OVERFLOW, "encrypted length too long"},
    BadHeader{"WithoutATag", {23, 3, 3, 0, 16}, SSL_AD_BAD_RECORD_MAC, "length too short"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST_F(Records, OfTheLargestSizeAreRead) {
  const std::string most(TrafficKey::kMaxContent, 'x');
  EXPECT_EQ(read(peer_.data(most)), Status::want_input);
  EXPECT_EQ(text_, most);
}

TEST_F(Records, ThatEndTooEarlyAreToldWithAllThatCameBefore) {
  Bytes all = joined({peer_.data("whole"), peer_.data("half")});
  all.pop_back();
  layer_->end_of_input();
  EXPECT_EQ(read(all), Status::failed);
  EXPECT_EQ(text_, "whole");
  EXPECT_EQ(take_openssl_error(), "unexpected eof while reading");
}

}  // namespace
}  // namespace pgveil::tls::test
