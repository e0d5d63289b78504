// Everything that a peer with the right keys may send after a handshake of TLS 1.3, and the result: a table
// of conversations, each with our client and with our server, in whole pieces and byte by byte. The handshake
// is a real one with plain OpenSSL, which exports its secrets. After it, the test seals and opens the peer's
// records itself.
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/tls/peers.h"
#include "tls/internal/traffic_key.h"

namespace pgveil::tls::test {
namespace {

using namespace std::string_literals;
using Status = Engine::Status;

// --- messages ---

constexpr ContentType kAlert = ContentType::alert;
constexpr ContentType kHandshake = ContentType::handshake;
constexpr ContentType kData = ContentType::application_data;

struct Said {
  ContentType type;
  std::string content;
  friend bool operator==(const Said&, const Said&) = default;
};
void PrintTo(const Said& said, std::ostream* out) {
  *out << static_cast<int>(said.type) << ' ' << testing::PrintToString(said.content.substr(0, 40));
}

Said said_alert(int level, int number) {
  return {kAlert, {static_cast<char>(level), static_cast<char>(number)}};
}
Said fatal(int number) {
  return said_alert(2, number);
}
Said said_data(std::string content) {
  return {kData, std::move(content)};
}
const Said kNewKey{kHandshake, "\x18\0\0\1\0"s};

enum class Role { client, server };  // the role of our end
void PrintTo(Role role, std::ostream* out) {
  *out << (role == Role::client ? "client" : "server");
}

struct Suite {
  const char* name;
  const char* openssl_name;
  std::uint32_t id;
};
void PrintTo(const Suite& suite, std::ostream* out) {
  *out << suite.name;
}
constexpr std::array kSuites{Suite{"Aes256", "TLS_AES_256_GCM_SHA384", 0x1302},
                             Suite{"Aes128", "TLS_AES_128_GCM_SHA256", 0x1301},
                             Suite{"ChaCha20", "TLS_CHACHA20_POLY1305_SHA256", 0x1303}};

// --- the two ends ---

// The secrets of a handshake at the peer's end.
class KeyLog {
 public:
  explicit KeyLog(SSL_CTX* context) {
    SSL_CTX_set_ex_data(context, 0, this);
    SSL_CTX_set_keylog_callback(context, [](const SSL* ssl, const char* line) {
      const std::string_view text(line);
      auto* log = static_cast<KeyLog*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0));
      log->secrets_[std::string(text.substr(0, text.find(' ')))] = octets(text.substr(text.rfind(' ') + 1));
    });
  }
  [[nodiscard]] TrafficSecret of(Role role) const {
    return TrafficSecret(
        secrets_.at(role == Role::client ? "CLIENT_TRAFFIC_SECRET_0" : "SERVER_TRAFFIC_SECRET_0"));
  }

 private:
  static Bytes octets(std::string_view hexadecimal) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < hexadecimal.size(); i += 2)
      bytes.push_back(
          static_cast<std::uint8_t>(std::stoi(std::string(hexadecimal.substr(i, 2)), nullptr, 16)));
    return bytes;
  }
  std::map<std::string, Bytes> secrets_;
};

// The contexts of our end, which all conversations share.
struct OurSide {
  Site site;
  std::shared_ptr<const ClientContext> client = Site::build(site.client_settings());
  std::shared_ptr<const ServerContext> server = Site::build(site.server_settings());

  static const OurSide& shared() {
    static const OurSide side;
    return side;
  }
};

class ScriptedConversation {
 public:
  // A cut of 0 means none: the peer's bytes arrive in one piece.
  ScriptedConversation(Role role, const Suite& suite, std::size_t cut)
      : role_(role),
        cut_(cut == 0 ? kWhole : cut),
        plaintext_(cut == 0 ? 100'000 : 7),
        memory_(cut == 0 ? 100'000 : kMinRoom),
        context_(role == Role::client ? openssl_server(OurSide::shared().site.server) : openssl_client()),
        key_log_(context_.get()),
        ours_(role == Role::client ? Engine::to_server(OurSide::shared().client, {.host = Site::kHost})
                                   : Engine::to_client(OurSide::shared().server, false)) {
    SSL_CTX_set_ciphersuites(context_.get(), suite.openssl_name);
    OpenSslEnd peer(context_.get(),
                    role == Role::client ? OpenSslEnd::Side::server : OpenSslEnd::Side::client);
    Bytes first;
    if (role == Role::server) peer.handshake({}, first);
    const bool is_done = shake(peer, std::move(first));
    if (!is_done) throw std::runtime_error("no handshake: " + ours_.failure().reason + peer.error());
    const auto& known = *find_cipher_suite(suite.id);
    const Role other = role == Role::client ? Role::server : Role::client;
    seal_ = std::make_unique<TrafficKey>(known, key_log_.of(other), TrafficKey::Use::seal);
    open_ = std::make_unique<TrafficKey>(known, key_log_.of(role), TrafficKey::Use::open);
  }

  // --- the peer ---

  // Seals the content unchanged. With `type` 0 the content must end with a type and padding.
  void say(ContentType type, std::string_view content) {
    Bytes record(content.size() + TrafficKey::kOverhead);
    EXPECT_TRUE(seal_->seal(type, bytes_of(content), record));
    wire_.push_back(std::move(record));
  }
  void use_next_key() { seal_->update(); }
  // The records, or other bytes, on their way to our end.
  [[nodiscard]] std::vector<Bytes>& wire() { return wire_; }
  // Our last record, as sent.
  [[nodiscard]] const Bytes& last_of_ours() const { return last_of_ours_; }

  // --- our end ---

  void deliver() {
    Bytes all;
    for (const Bytes& record : std::exchange(wire_, {})) all.insert(all.end(), record.begin(), record.end());
    if (all.empty()) read({});
    for (const Bytes& piece : cut(all, cut_)) read(piece);
  }
  void end_input() {
    deliver();
    ours_.engine().end_of_input();
    read({});
  }
  Status write(std::string_view text) {
    deliver();
    const Bytes bytes = bytes_of(text);
    ByteView plaintext(bytes);
    for (;;) {
      Outgoing out(memory_);
      const auto status = ours_.engine().write(plaintext, out);
      hear(out.written());
      if (status != Status::want_room) return status;
    }
  }
  void close() {
    deliver();
    Outgoing out(memory_);
    ours_.engine().close(out);
    hear(out.written());
  }
  // Calls read() again without further ciphertext.
  Engine::Read read_again() {
    ByteView nothing;
    Outgoing out(memory_);
    const auto read = ours_.engine().read(nothing, plaintext_, out);
    hear(out.written());
    return read;
  }

  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] Status status() const { return status_; }
  [[nodiscard]] const std::string& received() const { return received_; }
  [[nodiscard]] const FailureReport& failure() const { return ours_.failure(); }
  // Returns the messages of our end. Adjacent data is one entry, because our end splits data as it has room.
  // A KeyUpdate is listed before the data after it, because it may come at any time before that (RFC 8446,
  // 4.6.3).
  [[nodiscard]] const std::vector<Said>& heard() const { return heard_; }

 private:
  bool shake(OpenSslEnd& peer, Bytes to_us) {
    Bytes to_peer;
    auto status = ours_.handshake(std::move(to_us), to_peer);
    bool is_peer_done = false;
    while (!to_peer.empty()) {
      Bytes answer;
      if (!is_peer_done) is_peer_done = peer.handshake(std::exchange(to_peer, {}), answer);
      if (status == Status::want_input) status = ours_.handshake(std::move(answer), to_peer);
    }
    return is_peer_done && status == Status::ready;
  }

  void read(const Bytes& piece) {
    ByteView ciphertext(piece);
    while (status_ == Status::want_input) {
      Outgoing out(memory_);
      const auto [status, size] = ours_.engine().read(ciphertext, plaintext_, out);
      received_.append(plaintext_.begin(), plaintext_.begin() + static_cast<std::ptrdiff_t>(size));
      hear(out.written());
      if (status == Status::want_input) return;
      if (status != Status::ready) status_ = status;
    }
  }

  // OpenSSL's records may arrive in any pieces.
  void hear(ByteView bytes) {
    unheard_.insert(unheard_.end(), bytes.begin(), bytes.end());
    while (unheard_.size() >= TrafficKey::kOverhead) {
      const std::size_t size =
          TrafficKey::kHeaderBytes + (std::size_t{unheard_[3]} << 8U) + std::size_t{unheard_[4]};
      if (unheard_.size() < size) return;
      last_of_ours_.assign(unheard_.begin(), unheard_.begin() + static_cast<std::ptrdiff_t>(size));
      unheard_.erase(unheard_.begin(), unheard_.begin() + static_cast<std::ptrdiff_t>(size));
      Bytes memory(size);
      const auto opened = open_->open(last_of_ours_, memory);
      ASSERT_TRUE(opened) << "the peer cannot open it";
      hear({ContentType{opened->type},
            {memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(opened->size)}});
    }
  }

  void hear(Said said) {
    if (said.type == kHandshake) {
      EXPECT_EQ(said, kNewKey);
      has_new_key_ = true;
      return open_->update();
    }
    const bool is_data = said.type == kData;
    if (is_data && std::exchange(has_new_key_, false)) heard_.push_back(kNewKey);
    if (is_data && !heard_.empty() && heard_.back().type == kData)
      heard_.back().content += said.content;
    else
      heard_.push_back(std::move(said));
  }

  Role role_;
  std::size_t cut_;
  Bytes plaintext_;
  Bytes memory_;
  SslContext context_;
  KeyLog key_log_;
  EngineEnd ours_;
  std::unique_ptr<TrafficKey> seal_;
  std::unique_ptr<TrafficKey> open_;
  std::vector<Bytes> wire_;
  Bytes last_of_ours_;
  Bytes unheard_;
  std::vector<Said> heard_;
  bool has_new_key_ = false;
  Status status_ = Status::want_input;
  std::string received_;
};

// --- the steps in the table ---

using Step = std::function<void(ScriptedConversation&)>;
using Steps = std::vector<Step>;

Step record(ContentType type, std::string content) {
  return [=](ScriptedConversation& it) { it.say(type, content); };
}
Step record(int type, std::string content) {
  return record(ContentType{static_cast<std::uint8_t>(type)}, std::move(content));
}
Step data(std::string content) {
  return record(kData, std::move(content));
}
Step message(std::string content) {
  return record(kHandshake, std::move(content));
}
Step alert(int level, int number) {
  return record(kAlert, said_alert(level, number).content);
}
// Appends at least one zero after the type. say() gets this zero as the type.
Step padded(ContentType type, const std::string& content, std::size_t zeros) {
  return record(0, content + static_cast<char>(type) + std::string(zeros - 1, '\0'));
}
Step next_key() {
  return [](ScriptedConversation& it) { it.use_next_key(); };
}
Step all_of(Steps steps) {
  return [=](ScriptedConversation& it) {
    for (const Step& step : steps) step(it);
  };
}
Step times(int count, Step step) {
  return [=](ScriptedConversation& it) {
    for (int i = 0; i < count; ++i) step(it);
  };
}
const std::string kUpdate = "\x18\0\0\1\0"s;        // KeyUpdate
const std::string kUpdateAndAsk = "\x18\0\0\1\1"s;  // a KeyUpdate that requests another
Step key_update() {
  return all_of({message(kUpdate), next_key()});
}
Step key_update_and_ask() {
  return all_of({message(kUpdateAndAsk), next_key()});
}
// A message in several records with sizes `sizes`; the rest is the last record.
Step in_parts(std::string content, std::vector<std::size_t> sizes) {
  return [=](ScriptedConversation& it) {
    std::string_view rest = content;
    for (const std::size_t size : sizes) {
      it.say(kHandshake, rest.substr(0, size));
      rest.remove_prefix(size);
    }
    if (!rest.empty()) it.say(kHandshake, rest);
  };
}
// Bytes that are not sealed.
Step octets(std::string bytes) {
  return [=](ScriptedConversation& it) { it.wire().push_back(bytes_of(bytes)); };
}
// Changes the last record in transit. A negative place counts from the end.
Step spoil(int place, int bits) {
  return [=](ScriptedConversation& it) {
    Bytes& last = it.wire().back();
    last[place < 0 ? last.size() - static_cast<std::size_t>(-place) : static_cast<std::size_t>(place)] ^=
        static_cast<std::uint8_t>(bits);
  };
}
Step repeat() {
  return [](ScriptedConversation& it) { it.wire().push_back(Bytes(it.wire().back())); };
}
Step lose() {
  return [](ScriptedConversation& it) { it.wire().pop_back(); };
}
Step swap() {
  return [](ScriptedConversation& it) { std::swap(it.wire().back(), it.wire().end()[-2]); };
}
Step shorten(std::size_t octets) {
  return [=](ScriptedConversation& it) { it.wire().back().resize(it.wire().back().size() - octets); };
}
// The last record of our end is sent back to it.
Step reflect() {
  return [](ScriptedConversation& it) { it.wire().push_back(it.last_of_ours()); };
}
Step end() {
  return [](ScriptedConversation& it) { it.end_input(); };
}
Step we_write(std::string text) {
  return [=](ScriptedConversation& it) { EXPECT_EQ(it.write(text), Status::ready); };
}
Step we_close() {
  return [](ScriptedConversation& it) { it.close(); };
}

std::string ticket(std::size_t size) {
  std::string body = "\0\0\0\x0a\1\2\3\4\1n"s;  // lifetime, age_add, nonce
  body += {static_cast<char>(size >> 8U), static_cast<char>(size & 0xffU)};
  body += std::string(size, 't') + "\0\0"s;
  return "\4\0"s + static_cast<char>(body.size() >> 8U) + static_cast<char>(body.size() & 0xffU) + body;
}

// The expected result of a conversation.
struct Outcome {
  Status status = Status::want_input;
  std::string received;
  std::vector<Said> said;
  std::optional<Failure> failure;
};
// Expects that the session continues.
Outcome goes_on(std::string received, std::vector<Said> said = {}) {
  return {Status::want_input, std::move(received), std::move(said), {}};
}
Outcome closes(std::string received, std::vector<Said> said = {}) {
  return {Status::closed, std::move(received), std::move(said), {}};
}
Outcome fails(Failure failure, std::vector<Said> said = {}, std::string received = {}) {
  return {Status::failed, std::move(received), std::move(said), failure};
}
// Expects an alert and a failure. After a handshake of TLS 1.3 all received bytes are TLS.
Outcome refuses(int alert, Failure failure = Failure::protocol_error, std::string received = {}) {
  return fails(failure, {fatal(alert)}, std::move(received));
}

struct Case {
  std::string name;
  Steps steps;
  Outcome outcome;
  std::optional<Role> only = {};
  std::optional<Outcome> with_openssl = {};      // if OpenSSL's records differ; the reason is in a comment
  std::optional<Outcome> with_openssl_3_2 = {};  // if those of 3.2 and newer differ from that
};
void PrintTo(const Case& row, std::ostream* out) {
  *out << row.name;
}

// Returns the expected result with the record layer and the OpenSSL of this run.
const Outcome& expected(const Case& row) {
  if (records_under_test() == Records::own) return row.outcome;
  const bool is_newer = OpenSSL_version_num() >= 0x30200000UL;
  if (is_newer && row.with_openssl_3_2) return *row.with_openssl_3_2;
  return row.with_openssl ? *row.with_openssl : row.outcome;
}

enum class Cut { whole, single_octets };
void PrintTo(Cut cut, std::ostream* out) {
  *out << (cut == Cut::whole ? "whole" : "octets");
}

class Conversations : public testing::TestWithParam<std::tuple<Case, Role, Cut, Suite>> {};

TEST_P(Conversations, EndAsTheyShould) {
  const auto& [row, role, cut, suite] = GetParam();
  const Outcome& outcome = expected(row);
  ScriptedConversation it(role, suite, cut == Cut::whole ? 0 : 1);
  for (const Step& step : row.steps) step(it);
  it.deliver();
  ASSERT_EQ(static_cast<int>(it.status()), static_cast<int>(outcome.status))
      << name_of(it.failure().failure) << ": " << it.failure().reason;
  EXPECT_TRUE(it.received() == outcome.received)
      << it.received().size() << " octets: " << it.received().substr(0, 100);
  EXPECT_EQ(it.heard(), outcome.said);

  const bool has_failed = outcome.status == Status::failed;
  if (has_failed) {
    EXPECT_EQ(name_of(it.failure().failure), name_of(*outcome.failure)) << it.failure().reason;
    EXPECT_NE(it.failure().reason, "");
  }
  // The rest is the same for all: after a failure nothing works any more, and after the peer has closed, we
  // may still write.
  const auto again = it.read_again();
  EXPECT_EQ(again.status, outcome.status);
  EXPECT_EQ(again.size, 0U);
  EXPECT_EQ(it.heard().size(), outcome.said.size());
  const bool has_closed = std::ranges::count(outcome.said, said_alert(1, 0)) > 0;
  if (!has_closed) {
    EXPECT_EQ(it.write("pong"), has_failed ? Status::failed : Status::ready);
  }
  it.close();
  auto said = outcome.said;
  if (!has_failed && !has_closed) {
    // The KeyUpdate was requested earlier.
    if (it.heard().size() == said.size() + 3) said.push_back(kNewKey);
    if (!said.empty() && said.back().type == kData)
      said.back().content += "pong";
    else
      said.push_back(said_data("pong"));
    said.push_back(said_alert(1, 0));
  }
  EXPECT_EQ(it.heard(), said);
}

// Returns a name that GoogleTest accepts.
std::string name(const testing::TestParamInfo<Conversations::ParamType>& info) {
  const auto& [row, role, cut, suite] = info.param;
  return row.name + (role == Role::client ? "_Client" : "_Server") +
         (cut == Cut::whole ? "_Whole_" : "_Octets_") + suite.name;
}

// --- the table ---

// Valid conversations. They run with each suite.
std::vector<Case> good() {
  const std::string most(TrafficKey::kMaxContent, 'm');
  std::string hundred;
  for (int i = 0; i < 100; ++i) hundred += "x";
  return {
      {"NothingAtAll", {}, goes_on("")},
      {"ARecord", {data("text")}, goes_on("text")},
      {"ARecordOfOneOctet", {data("x")}, goes_on("x")},
      {"AHundredRecords", {times(100, data("x"))}, goes_on(hundred)},
      {"ARecordOf15Octets", {data(std::string(15, 'x'))}, goes_on(std::string(15, 'x'))},
      {"ARecordOf16Octets", {data(std::string(16, 'x'))}, goes_on(std::string(16, 'x'))},
      {"ARecordOf17Octets", {data(std::string(17, 'x'))}, goes_on(std::string(17, 'x'))},
      {"TheLargestRecord", {data(most)}, goes_on(most)},
      {"TheLargestRecordTwice", {data(most), data(most)}, goes_on(most + most)},
      {"TheLargestRecordWithPadding",
       {padded(kData, std::string(100, 'x'), TrafficKey::kMaxContent - 100)},
       goes_on(std::string(100, 'x'))},
      {"ZerosAtTheEndOfData", {data("text\0\0\0"s)}, goes_on("text\0\0\0"s)},
      {"ZerosAndPadding", {padded(kData, "text\0\0"s, 9)}, goes_on("text\0\0"s)},
      {"Padding",
       {padded(kData, "one ", 1), padded(kData, "two ", 255), data("three")},
       goes_on("one two three")},
      {"AnEmptyRecord", {data("one "), data(""), data("two")}, goes_on("one two")},
      {"AnEmptyRecordWithPadding", {padded(kData, "", 200), data("text")}, goes_on("text")},
      {"ThirtyEmptyRecords", {times(30, data("")), data("text")}, goes_on("text")},
      {"EmptyRecordsBetweenData", {times(100, all_of({data(""), data("x")}))}, goes_on(hundred)},
      {"ANewKey", {data("one "), key_update(), data("two")}, goes_on("one two")},
      {"ANewKeyThatIsAskedFor",
       {key_update_and_ask(), data("text"), we_write("answer")},
       goes_on("text", {kNewKey, said_data("answer")})},
      {"ANewKeyThatIsAskedForTwice",
       {key_update_and_ask(), key_update_and_ask(), data("text"), we_write("answer")},
       goes_on("text", {kNewKey, said_data("answer")})},
      {"ANewKeyEachTime",
       {times(3, all_of({data("x"), key_update_and_ask(), data("y"), we_write(".")}))},
       goes_on("xyxyxy", {kNewKey, said_data("."), kNewKey, said_data("."), kNewKey, said_data(".")})},
      {"AHundredNewKeysWithDataBetween", {times(100, all_of({key_update(), data("x")}))}, goes_on(hundred)},
      {"ThirtyNewKeysInARow", {times(30, key_update()), data("text")}, goes_on("text")},
      {"ANewKeyInTwoRecords", {in_parts(kUpdate, {1}), next_key(), data("text")}, goes_on("text")},
      {"ANewKeyWithoutItsEnd", {in_parts(kUpdate, {4}), next_key(), data("text")}, goes_on("text")},
      {"ANewKeyInFiveRecords", {in_parts(kUpdate, {1, 1, 1, 1}), next_key(), data("text")}, goes_on("text")},
      {"ANewKeyWithPadding", {padded(kHandshake, kUpdate, 99), next_key(), data("text")}, goes_on("text")},
      {"AUserThatCancels", {alert(1, SSL_AD_USER_CANCELLED), data("text")}, goes_on("text")},
      {"AUserThatCancelsFatally", {alert(2, SSL_AD_USER_CANCELLED), data("text")}, goes_on("text")},
      {"AUserThatCancelsAndCloses",
       {data("text"), alert(1, SSL_AD_USER_CANCELLED), alert(1, SSL_AD_CLOSE_NOTIFY)},
       closes("text")},
      {"AUserThatCancelsAndClosesFatally",
       {data("text"), alert(1, SSL_AD_USER_CANCELLED), alert(2, SSL_AD_CLOSE_NOTIFY)},
       closes("text")},
      {"CloseNotify", {alert(1, SSL_AD_CLOSE_NOTIFY)}, closes("")},
      {"CloseNotifyAfterData", {data("text"), alert(1, SSL_AD_CLOSE_NOTIFY)}, closes("text")},
      {"CloseNotifyWithPadding", {padded(kAlert, "\1\0"s, 30)}, closes("")},
      {"CloseNotifyThatIsCalledFatal", {data("text"), alert(2, SSL_AD_CLOSE_NOTIFY)}, closes("text")},
      {"CloseNotifyOfAnUnknownLevel", {data("text"), alert(99, SSL_AD_CLOSE_NOTIFY)}, closes("text")},
      {"CloseNotifyAndTheEnd", {alert(1, SSL_AD_CLOSE_NOTIFY), end()}, closes("")},
      {"DataAfterCloseNotify",
       {data("in time"), alert(1, SSL_AD_CLOSE_NOTIFY), data("late")},
       closes("in time")},
      {"NoRecordAfterCloseNotify", {alert(1, SSL_AD_CLOSE_NOTIFY), octets("Hello?")}, closes("")},
      {"AnAlertAfterCloseNotify",
       {alert(1, SSL_AD_CLOSE_NOTIFY), alert(2, SSL_AD_INTERNAL_ERROR)},
       closes("")},
      {"ASpoiltRecordAfterCloseNotify",
       {alert(1, SSL_AD_CLOSE_NOTIFY), data("late"), spoil(9, 1)},
       closes("")},
      {"CloseNotifyUnderANewKey", {key_update(), alert(1, SSL_AD_CLOSE_NOTIFY)}, closes("")},
      {"CloseNotifyAfterANewKeyThatIsAskedFor",
       {key_update_and_ask(), alert(1, SSL_AD_CLOSE_NOTIFY), we_write("answer")},
       closes("", {kNewKey, said_data("answer")})},
      {"HalfARecord", {data("whole"), data("half"), shorten(3)}, goes_on("whole")},
      {"HalfAHeader", {data("whole"), octets("\x17\3"s)}, goes_on("whole")},
      {"Answers",
       {data("query"), we_write("answer"), data("more"), we_write("end")},
       goes_on("querymore", {said_data("answerend")})},
      {"ALargeAnswer",
       {data("query"), we_write(std::string(100'000, 'a'))},
       goes_on("query", {said_data(std::string(100'000, 'a'))})},
      {"DataAfterOurCloseNotify", {we_close(), data("late")}, goes_on("late", {said_alert(1, 0)})},
      {"ANewKeyAfterOurCloseNotify",
       {we_close(), key_update_and_ask(), data("late")},
       goes_on("late", {said_alert(1, 0)})},
      {"CloseNotifyAfterOurs", {we_close(), alert(1, SSL_AD_CLOSE_NOTIFY)}, closes("", {said_alert(1, 0)})},
      // A client receives tickets that it does not use.
      {"ATicket", {message(ticket(50)), data("text")}, goes_on("text"), Role::client},
      {"ATicketInTwoRecords", {in_parts(ticket(50), {20}), data("text")}, goes_on("text"), Role::client},
      {"ATicketInFourRecords",
       {in_parts(ticket(50), {1, 3, 2}), data("text")},
       goes_on("text"),
       Role::client},
      {"TwoTicketsInARecord", {message(ticket(9) + ticket(80)), data("text")}, goes_on("text"), Role::client},
      {"TwoTicketsInTwoRecords",
       {in_parts(ticket(9) + ticket(80), {31}), data("text")},
       goes_on("text"),
       Role::client},
      {"ALargeTicket",
       {in_parts(ticket(60'000), {16'384, 16'384, 16'384}), data("text")},
       goes_on("text"),
       Role::client},
      {"ATicketAndANewKeyInARecord",
       {message(ticket(9) + kUpdate), next_key(), data("text")},
       goes_on("text"),
       Role::client},
      {"ATicketAfterANewKey",
       {key_update(), message(ticket(9)), data("text")},
       goes_on("text"),
       Role::client},
      {"TicketsBetweenData",
       {times(100, all_of({message(ticket(9)), data("x")}))},
       goes_on(hundred),
       Role::client},
      {"ATicketWithPadding",
       {padded(kHandshake, ticket(9), 12), data("text")},
       goes_on("text"),
       Role::client},
  };
}

std::vector<Case> faulty() {
  const auto kNotTls = Failure::not_tls;  // OpenSSL's error for a bad type, authenticated or not
  const auto kEof = Failure::unexpected_eof;
  std::vector<Case> cases{
      // The content of records.
      {"NothingButPadding", {record(0, "\0\0\0"s)}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"NothingButTheLongestPadding",
       {record(0, std::string(TrafficKey::kMaxContent, '\0'))},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"ChangeCipherSpec", {record(20, "\1")}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"AHeartbeat", {record(24, "\1\0\1x"s)}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"AnAcknowledgement", {record(26, "\0\0"s)}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"ATypeOf1", {record(1, "x")}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"ATypeOf19", {record(19, "x")}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"ATypeOf99", {record(99, "")}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"ATypeOf255", {record(255, "x")}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"AnUnknownTypeAfterData",
       {data("good"), record(99, "x"), data("late")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls, "good")},
      {"AnOctetTooMuch",
       {data(std::string(TrafficKey::kMaxContent + 1, 'x'))},
       refuses(SSL_AD_RECORD_OVERFLOW)},
      // OpenSSL does not count the padding (RFC 8446, 5.4).
      {"AnOctetOfPaddingTooMuch",
       {padded(kData, std::string(TrafficKey::kMaxContent, 'x'), 1)},
       refuses(SSL_AD_RECORD_OVERFLOW),
       {},
       goes_on(std::string(TrafficKey::kMaxContent, 'x'))},
      {"PaddingThatIsTooLong",
       {padded(kData, "x", TrafficKey::kMaxContent)},
       refuses(SSL_AD_RECORD_OVERFLOW),
       {},
       goes_on("x")},
      {"AsMuchAsFitsIntoARecord", {data(std::string(16'384 + 239, 'x'))}, refuses(SSL_AD_RECORD_OVERFLOW)},
      {"AnAlertWithTooMuchPadding",
       {padded(kAlert, "\1\0"s, TrafficKey::kMaxContent)},
       refuses(SSL_AD_RECORD_OVERFLOW),
       {},
       closes("")},

      // Alerts.
      {"AnEmptyAlert", {record(kAlert, "")}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      // OpenSSL does not use decode_error for these.
      {"AnAlertOfOneOctet",
       {record(kAlert, "\1")},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"AnAlertOfThreeOctets",
       {record(kAlert, "\1\0\0"s)},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"TwoAlertsInARecord",
       {record(kAlert, "\1\x5a\1\0"s)},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"AnAlertInTwoRecords",
       {record(kAlert, "\1"), record(kAlert, "\0"s)},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"AnUnknownAlert", {data("good"), alert(2, 255)}, fails(Failure::alert, {}, "good")},
      {"AnAlertOfAnUnknownLevel", {alert(0, SSL_AD_INTERNAL_ERROR)}, fails(Failure::alert)},
      {"AnAlertWithPadding", {padded(kAlert, "\2\x50", 100)}, fails(Failure::alert)},
      {"AnAlertAfterOurCloseNotify",
       {we_close(), alert(2, SSL_AD_INTERNAL_ERROR)},
       fails(Failure::alert, {said_alert(1, 0)})},

      // Handshake messages.
      {"AnEmptyMessage", {message("")}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"AKeyUpdateOfNothing", {message("\x18\0\0\0"s)}, refuses(SSL_AD_DECODE_ERROR)},
      // OpenSSL checks the size before the content.
      {"AKeyUpdateOfTwoOctets",
       {message("\x18\0\0\2\0\0"s)},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_ILLEGAL_PARAMETER)},
      {"AKeyUpdateOf16MiB",
       {message("\x18\xff\xff\xff"s)},
       refuses(SSL_AD_DECODE_ERROR),
       {},
       refuses(SSL_AD_ILLEGAL_PARAMETER)},
      {"AKeyUpdateThatAsksFor2", {message("\x18\0\0\1\2"s)}, refuses(SSL_AD_ILLEGAL_PARAMETER)},
      {"AKeyUpdateThatAsksFor255", {message("\x18\0\0\1\xff"s)}, refuses(SSL_AD_ILLEGAL_PARAMETER)},
      {"AKeyUpdateWithAnotherBehindIt", {message(kUpdate + kUpdate)}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"AKeyUpdateWithAnOctetBehindIt", {message(kUpdate + "\x18")}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"TheEndOfAKeyUpdateWithAnOctetBehindIt",
       {in_parts(kUpdate + "\x18", {4})},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"TheOldKeyAfterAKeyUpdate", {message(kUpdate), data("x")}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"TheKeyAfterTheNext", {key_update(), next_key(), data("x")}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ANewKeyThatNobodySpokeOf",
       {data("good"), next_key(), data("x")},
       refuses(SSL_AD_BAD_RECORD_MAC, Failure::protocol_error, "good")},
      {"ANewKeyAfterHalfAKeyUpdate",
       {message("\x18\0\0\1"s), next_key(), message("\0"s)},
       refuses(SSL_AD_BAD_RECORD_MAC)},
      {"DataInsideAMessage", {message("\x18\0"s), data("x")}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"DataBeforeTheEndOfAKeyUpdate",
       {message("\x18\0\0\1"s), data("x")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"DataInsideATicket",
       {message(ticket(50).substr(0, 30)), data("x")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE),
       Role::client},
      {"AnUnknownTypeInsideAMessage",
       {message("\x18\0"s), record(99, "x")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      // Our record layer reports the peer's alert. OpenSSL reports that the alert came at the wrong place
      // (5.1).
      {"AnAlertInsideAMessage",
       {message("\x18\0"s), alert(2, SSL_AD_INTERNAL_ERROR)},
       fails(Failure::alert),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"ATicketFromAClient", {message(ticket(9))}, refuses(SSL_AD_UNEXPECTED_MESSAGE), Role::server},
      {"TheFirstOctetsOfATicketFromAClient",
       {message(ticket(9).substr(0, 4))},
       refuses(SSL_AD_UNEXPECTED_MESSAGE),
       Role::server},
      {"AHelloRequestBehindATicket", {message(ticket(9) + "\0\0\0\0"s)}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},

      // No other record may come between the records of a message (5.1), but close_notify is never refused.
      {"CloseNotifyInsideAMessage",
       {message("\x18\0"s), alert(1, SSL_AD_CLOSE_NOTIFY)},
       closes(""),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"ATicketThatIsLongerThanAnyCanBe",
       {message("\4\2\1\xb\0"s)},
       refuses(SSL_AD_ILLEGAL_PARAMETER),
       Role::client},

      // More than the limit of messages that cost work.
      {"EmptyRecordsInARow", {times(33, data(""))}, refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      {"EmptyRecordsInARowAndTheRegularEnd",
       {times(32, data("")), alert(1, SSL_AD_CLOSE_NOTIFY)},
       closes("")},
      {"AUserThatCancelsAllTheTime",
       {times(33, alert(1, SSL_AD_USER_CANCELLED))},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      // OpenSSL does not accept the fifth warning.
      {"AUserThatCancelsFiveTimes",
       {times(5, alert(1, SSL_AD_USER_CANCELLED)), data("text")},
       goes_on("text"),
       {},
       refuses(SSL_AD_UNEXPECTED_MESSAGE)},
      // OpenSSL has no limit for these.
      {"NewKeysInARow",
       {times(33, key_update()), data("text")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE),
       {},
       goes_on("text")},
      {"TicketsInARow",
       {times(33, message(ticket(9))), data("text")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE),
       Role::client,
       goes_on("text")},
      // As many as JSSE sends after it has received a hundred records of ours.
      {"NewKeysForTheRecordsThatWeSent",
       {times(100, we_write("x")), times(132, key_update_and_ask()), data("text"), we_write("y")},
       goes_on("text", {said_data(std::string(100, 'x')), kNewKey, said_data("y")})},
      {"ATicketInSingleOctets",
       {in_parts(ticket(200), std::vector<std::size_t>(200, 1)), data("text")},
       goes_on("text"),
       Role::client},

      // Records that are changed in transit.
      {"ASpoiltType", {data("x"), spoil(0, 1)}, refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      // OpenSSL checks the version, which has no meaning (5.1).
      {"AnotherVersion",
       {data("x"), spoil(2, 2)},
       refuses(SSL_AD_BAD_RECORD_MAC),
       {},
       refuses(SSL_AD_DECODE_ERROR, kNotTls)},
      {"AnotherMajorVersion",
       {data("x"), spoil(1, 1)},
       refuses(SSL_AD_BAD_RECORD_MAC),
       {},
       refuses(SSL_AD_PROTOCOL_VERSION, kNotTls),
       refuses(SSL_AD_DECODE_ERROR, kNotTls)},
      {"AShorterLength", {data("text"), spoil(4, 1)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ALongerLength", {data("text!"), spoil(4, 1), data("more")}, refuses(SSL_AD_BAD_RECORD_MAC)},
      // For OpenSSL, a length above the size of its buffer is not TLS.
      {"ALengthOver16KiB",
       {data("text"), spoil(3, 0x80)},
       refuses(SSL_AD_RECORD_OVERFLOW),
       {},
       refuses(SSL_AD_RECORD_OVERFLOW, kNotTls),
       refuses(SSL_AD_RECORD_OVERFLOW)},
      {"ASpoiltFirstOctet", {data("x"), spoil(5, 0x80)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltMiddle", {data("a longer text"), spoil(9, 0x10)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltInnerType", {data("x"), spoil(6, 1)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltTag", {data("x"), spoil(-16, 1)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltLastOctet", {data("x"), spoil(-1, 0x80)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltAlert", {alert(1, 0), spoil(5, 1)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltKeyUpdate", {message(kUpdate), spoil(9, 1)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ASpoiltRecordAfterData",
       {data("good"), data("bad"), spoil(7, 4), data("late")},
       refuses(SSL_AD_BAD_RECORD_MAC, Failure::protocol_error, "good")},
      {"ASpoiltRecordOfTheLargestSize",
       {data(std::string(TrafficKey::kMaxContent, 'x')), spoil(9'000, 4)},
       refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ARecordTwice", {data("x"), repeat()}, refuses(SSL_AD_BAD_RECORD_MAC, Failure::protocol_error, "x")},
      {"ALostRecord", {data("lost"), lose(), data("x")}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"TwoRecordsInTheWrongOrder", {data("one"), data("two"), swap()}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"OurOwnRecord",
       {we_write("text"), reflect()},
       fails(Failure::protocol_error, {said_data("text"), fatal(SSL_AD_BAD_RECORD_MAC)})},
      {"ASpoiltRecordAfterOurCloseNotify",
       {we_close(), data("x"), spoil(-1, 1)},
       fails(Failure::protocol_error, {said_alert(1, 0)})},
      {"ARecordWithoutATag", {octets("\x17\3\3\0\x05hello"s)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"AnEmptyBody", {octets("\x17\3\3\0\0"s)}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"NothingButATag", {octets("\x17\3\3\0\x10"s + std::string(16, 'x'))}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"ATypeAndATag", {octets("\x17\3\3\0\x11"s + std::string(17, 'x'))}, refuses(SSL_AD_BAD_RECORD_MAC)},
      {"AHeaderOverTheLimit", {octets("\x17\3\3\x41\1"s)}, refuses(SSL_AD_RECORD_OVERFLOW)},
      {"AHeaderOf64KiB",
       {octets("\x17\3\3\xff\xff"s)},
       refuses(SSL_AD_RECORD_OVERFLOW),
       {},
       refuses(SSL_AD_RECORD_OVERFLOW, kNotTls),
       refuses(SSL_AD_RECORD_OVERFLOW)},

      // Records that are not sealed.
      {"AnAlertThatIsNotSealed",
       {octets("\x15\3\3\0\2\2\x28"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"CloseNotifyThatIsNotSealed",
       {data("good"), octets("\x15\3\3\0\2\1\0"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls, "good")},
      {"ChangeCipherSpecThatIsNotSealed",
       {octets("\x14\3\3\0\1\1"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls),
       Role::server},
      // A client of OpenSSL 3.2 and newer ignores it, also after the handshake.
      {"ChangeCipherSpecThatIsNotSealed",
       {octets("\x14\3\3\0\1\1"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls),
       Role::client,
       {},
       goes_on("")},
      {"AClientHelloThatIsNotSealed",
       {octets("\x16\3\1\0\x05\1\0\0\1\0"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      // OpenSSL checks the version first.
      {"Http",
       {octets("GET / HTTP/1.1\r\n\r\n")},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls),
       {},
       refuses(SSL_AD_PROTOCOL_VERSION, kNotTls),
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"AnErrorOfPostgres",
       {octets("E\0\0\0\x17SFATAL\0"s)},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls),
       {},
       refuses(SSL_AD_PROTOCOL_VERSION, kNotTls),
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},
      {"Zeros",
       {octets(std::string(64, '\0'))},
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls),
       {},
       refuses(SSL_AD_PROTOCOL_VERSION, kNotTls),
       refuses(SSL_AD_UNEXPECTED_MESSAGE, kNotTls)},

      // The input ends too early.
      // OpenSSL sends decode_error, although the peer has closed the connection.
      {"TheEnd", {end()}, fails(kEof), {}, fails(kEof, {fatal(SSL_AD_DECODE_ERROR)})},
      {"TheEndAfterData",
       {data("good"), end()},
       fails(kEof, {}, "good"),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)}, "good")},
      {"TheEndInsideAHeader",
       {octets("\x17\3"s), end()},
       fails(kEof),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)})},
      {"TheEndAfterAHeader",
       {octets("\x17\3\3\0\x40"s), end()},
       fails(kEof),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)})},
      {"TheEndInsideARecord",
       {data("good"), data("half"), shorten(1), end()},
       fails(kEof, {}, "good"),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)}, "good")},
      {"TheEndInsideAMessage",
       {message("\x18\0\0\1"s), end()},
       fails(kEof),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)})},
      {"TheEndAfterAnAlert", {alert(2, SSL_AD_INTERNAL_ERROR), end()}, fails(Failure::alert)},
      {"TheEndAfterAUserThatCancels",
       {alert(1, SSL_AD_USER_CANCELLED), end()},
       fails(kEof),
       {},
       fails(kEof, {fatal(SSL_AD_DECODE_ERROR)})},
      {"TheEndAfterOurCloseNotify", {we_close(), end()}, fails(kEof, {said_alert(1, 0)})},
  };

  // No other message is allowed after a handshake (RFC 8446, 4.6). Type 4, NewSessionTicket, and type 24,
  // KeyUpdate, have their own rows.
  for (const int type : {0, 1, 2, 3, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 25, 67, 203, 254, 255})
    cases.push_back({"AMessageOfType" + std::to_string(type),
                     {data("good"), message(static_cast<char>(type) + "\0\0\1x"s)},
                     refuses(SSL_AD_UNEXPECTED_MESSAGE, Failure::protocol_error, "good")});

  // All alerts except two mean the end (6.2).
  const auto kind = [](int number) {
    switch (number) {
      case SSL_AD_BAD_CERTIFICATE:
      case SSL_AD_UNSUPPORTED_CERTIFICATE:
      case SSL_AD_CERTIFICATE_REVOKED:
      case SSL_AD_CERTIFICATE_EXPIRED:
      case SSL_AD_CERTIFICATE_UNKNOWN:
      case SSL_AD_UNKNOWN_CA:
      case SSL_AD_ACCESS_DENIED:
      case SSL_AD_CERTIFICATE_REQUIRED: return Failure::rejected_by_peer;
      case SSL_AD_INSUFFICIENT_SECURITY: return Failure::no_common_parameters;
      case SSL_AD_PROTOCOL_VERSION: return Failure::no_common_version;
      case SSL_AD_NO_APPLICATION_PROTOCOL: return Failure::no_application_protocol;
      default: return Failure::alert;
    }
  };
  // If a server with a valid certificate sends handshake_failure to a client, it requires a client
  // certificate.
  for (const Role role : {Role::client, Role::server})
    cases.push_back({"Alert40",
                     {alert(2, SSL_AD_HANDSHAKE_FAILURE)},
                     fails(role == Role::client ? Failure::rejected_by_peer : Failure::no_common_parameters),
                     role});
  for (const int number : {10, 20, 22, 42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 70,
                           71, 80, 86, 109, 110, 112, 113, 115, 116, 120, 121, 200, 254})
    for (const int level : {1, 2})
      cases.push_back({"Alert" + std::to_string(number) + (level == 1 ? "AsWarning" : ""),
                       {data("good"), alert(level, number), data("late")},
                       fails(kind(number), {}, "good")});
  return cases;
}

// Returns all rows, each with its roles.
std::vector<Conversations::ParamType> all(const std::vector<Case>& cases, bool with_each_suite) {
  std::vector<Conversations::ParamType> rows;
  std::size_t next = 0;
  for (const Case& row : cases)
    for (const Role role : {Role::client, Role::server})
      for (const Cut cut : {Cut::whole, Cut::single_octets}) {
        if (row.only && *row.only != role) continue;
        // Rows with a fault do not run with every suite: each row uses the next suite.
        for (std::size_t i = 0; i < (with_each_suite ? kSuites.size() : 1); ++i)
          rows.emplace_back(row, role, cut, kSuites[next++ % kSuites.size()]);
      }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Good, Conversations, testing::ValuesIn(all(good(), true)), name);
INSTANTIATE_TEST_SUITE_P(Faulty, Conversations, testing::ValuesIn(all(faulty(), false)), name);

}  // namespace
}  // namespace pgveil::tls::test
