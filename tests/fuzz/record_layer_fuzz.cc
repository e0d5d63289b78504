// A peer has the right keys, and encrypts, cuts, corrupts, repeats and invents any records. The record layer
// must deliver exactly the data that the peer encrypted before its first fault, in order. It must answer a
// fault with an alert. The peer must be able to decrypt everything that the record layer writes, also after
// each change of the keys.
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/fuzz/choices.h"
#include "tests/fuzz/cuts.h"
#include "tests/fuzz/require.h"
#include "tls/internal/record_layer.h"

namespace {

using namespace pgveil::tls;
using pgveil::fuzz::Choices;
using pgveil::fuzz::Cuts;
using pgveil::fuzz::require;
using Bytes = std::vector<std::uint8_t>;
using Status = EngineStatus;

constexpr std::size_t kMaxActions = 64;
constexpr std::uint32_t kFirstSuite = 0x1301;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::uint8_t kTicket = 4;
constexpr std::uint64_t kSpare = 32;  // consecutive records without data

TrafficSecret secret(std::uint32_t suite, std::uint8_t octet) {
  return TrafficSecret(Bytes(suite == 0x1302 ? 48 : 32, octet));
}

// pgveil's end, the peer, and the properties that must hold between them.
class Connection {
 public:
  Connection(std::uint32_t suite, bool is_client, Choices& choices)
      : choices_(choices),
        is_client_(is_client),
        plaintext_(std::size_t{16} << (choices.octet() % 12U)),
        memory_(kMinRoom + choices.size(1U << 16U)),
        most_content_(choices.octet() % 2 == 0 ? TrafficKey::kMaxContent : 512),
        key_limits_{.records = 1U + choices.size(1U << 8U), .bytes = 1U + choices.size(1U << 16U)},
        cuts_(choices.octets(4)),
        cuts_nothing_(choices.octet() % 2 == 0),
        ours_({.suite = *find_cipher_suite(suite),
               .read = secret(suite, 1),
               .write = secret(suite, 2),
               .is_client = is_client,
               .most_content = most_content_,
               .key_limits = key_limits_}),
        sealing_(*find_cipher_suite(suite), secret(suite, 1), TrafficKey::Use::seal),
        opening_(*find_cipher_suite(suite), secret(suite, 2), TrafficKey::Use::open) {}

  void act() {
    const std::uint8_t action = choices_.octet();
    switch (action % 11) {
      case 0: send_data(false); break;
      case 1: send_data(true); break;
      case 2: send_key_update(); break;
      case 3: send_ticket(); break;
      case 4: send_alert(); break;
      case 5: send_anything(); break;
      case 6: send_spoilt(); break;
      case 7: send_again(); break;
      case 8: send_no_record(); break;
      case 9: write(); break;
      default: close(); break;
    }
    if (action < 0x80) read();
  }

  // Passes all bytes that the peer has sent so far to pgveil's end, and checks the result.
  void read() {
    const Bytes wire = std::exchange(wire_, {});
    const std::uint64_t updates_before = own_updates_;
    ByteView rest(wire);
    while (!rest.empty() && !is_over()) {
      const auto piece = rest.first(cuts_nothing_ ? rest.size() : cuts_.next(rest.size()));
      rest = rest.subspan(piece.size());
      read_piece(Bytes(piece.begin(), piece.end()));
    }
    require(received_.size() <= sealed_.size());
    require(std::ranges::equal(ByteView(received_).subspan(compared_),
                               ByteView(sealed_).subspan(compared_, received_.size() - compared_)));
    compared_ = received_.size();
    if (fate_ == Fate::doubtful || fate_ == Fate::stuck) return;
    require(received_.size() == sealed_.size());
    require((fate_ == Fate::closed) == (status_ == Status::closed));
    require((fate_ == Fate::failed) == (status_ == Status::failed));
    // No answer is due if pgveil has sent a KeyUpdate meanwhile, since it may have been the answer.
    if (std::exchange(asks_for_update_, false) && fate_ == Fate::open)
      owes_update_ = own_updates_ == updates_before;
  }

  void end() {
    read();
    has_ended_ = true;
    ours_.end_of_input();
    if (!is_over()) read_piece({});
    require(is_over());
  }
  [[nodiscard]] bool failed() const { return status_ == Status::failed; }

 private:
  // The expected state of the connection once everything that was sent is read.
  enum class Fate {
    open,
    closed,
    failed,
    doubtful,  // open or failed
    stuck,     // ended, or waiting for the rest of an invalid record; no more data is delivered
  };

  void becomes(Fate fate) {
    if (fate_ == Fate::open) fate_ = fate;
    if (fate_ == Fate::doubtful && fate != Fate::doubtful) fate_ = Fate::stuck;
  }
  [[nodiscard]] bool is_over() const { return status_ == Status::closed || failed(); }

  // --- the peer's end ---

  void seal(ContentType type, ByteView content) {
    last_.resize(content.size() + TrafficKey::kOverhead);
    require(sealing_.seal(type, content, last_));
    wire_.insert(wire_.end(), last_.begin(), last_.end());
  }

  // Encrypts a record with exactly this content.
  void say(ContentType type, ByteView content) {
    expect(type, content);
    seal(type, content);
  }

  // Counts a record without data, or a KeyUpdate. Only a limited number of them is accepted.
  void use_one(std::uint64_t& spare) {
    if (spare == 0) return becomes(Fate::failed);
    --spare;
  }

  void expect(ContentType type, ByteView content) {
    if (type == ContentType::application_data && content.empty()) {
      use_one(spare_records_);
    } else if (type == ContentType::application_data) {
      spare_records_ = kSpare;
      spare_key_updates_ = std::max(spare_key_updates_, kSpare);
      if (fate_ == Fate::open || fate_ == Fate::doubtful)
        sealed_.insert(sealed_.end(), content.begin(), content.end());
    } else if (type == ContentType::alert && content.size() == 2) {
      alert_sent_ = true;
      if (content[1] == SSL_AD_USER_CANCELLED)
        use_one(spare_records_);
      else
        becomes(content[1] == SSL_AD_CLOSE_NOTIFY ? Fate::closed : Fate::failed);
    } else {
      becomes(type == ContentType::handshake && !content.empty() ? Fate::doubtful : Fate::failed);
    }
  }

  // Returns data in which octets that are near each other are different.
  Bytes some_data() {
    static const Bytes numbers = [] {
      Bytes all(TrafficKey::kMaxContent + 256);
      std::iota(all.begin(), all.end(), std::uint8_t{0});
      return all;
    }();
    const auto data = ByteView(numbers).subspan(next_octet_, choices_.size(TrafficKey::kMaxContent));
    next_octet_ = static_cast<std::uint8_t>(next_octet_ + data.size());
    return {data.begin(), data.end()};
  }

  // With padding, the record's type is 0, which belongs to the padding: the real type is the last octet of
  // the content that is not 0.
  void send_data(bool pads) {
    Bytes data = some_data();
    if (!pads || data.size() == TrafficKey::kMaxContent) return say(ContentType::application_data, data);
    expect(ContentType::application_data, data);
    data.push_back(static_cast<std::uint8_t>(ContentType::application_data));
    data.resize(data.size() + std::min(choices_.size(4096), TrafficKey::kMaxContent - data.size()));
    seal(ContentType{0}, data);
  }

  // Sends a message in any number of records.
  void send_message(ByteView message) {
    while (!message.empty()) {
      const auto part = message.first(std::min<std::size_t>(message.size(), 1U + choices_.octet()));
      seal(ContentType::handshake, part);
      message = message.subspan(part.size());
    }
  }

  void send_key_update() {
    const bool asks = choices_.octet() % 2 == 1;
    use_one(spare_key_updates_);
    ++key_updates_;
    send_message(Bytes{kKeyUpdate, 0, 0, 1, asks});
    sealing_.update();
    asks_for_update_ = asks_for_update_ || asks;
  }

  void send_ticket() {
    if (!is_client_) becomes(Fate::failed);
    use_one(spare_records_);
    const std::uint8_t size = choices_.octet();
    Bytes ticket{kTicket, 0, 0, size};
    ticket.resize(ticket.size() + size);
    send_message(ticket);
  }

  void send_alert() {
    const std::array content{choices_.octet(), choices_.octet()};
    say(ContentType::alert, content);
  }

  void send_anything() {
    const std::uint8_t type = choices_.octet();
    const auto content = choices_.octets(choices_.octet());
    Bytes inner(content.begin(), content.end());
    inner.push_back(type);
    while (inner.size() > 1 && inner.back() == 0) inner.pop_back();
    const ContentType inner_type{inner.back()};
    inner.pop_back();
    expect(inner_type, inner);
    seal(ContentType{type}, content);
  }

  // Sends a record with one bit inverted. If the bit is in the length, pgveil may wait for more bytes.
  void send_spoilt() {
    seal(ContentType::application_data, some_data());
    const std::size_t place = (choices_.octet() * std::size_t{257}) % last_.size();
    const bool is_length = place == 3 || place == 4;
    becomes(is_length ? Fate::stuck : Fate::failed);
    auto& spoilt = wire_[wire_.size() - last_.size() + place];
    spoilt = static_cast<std::uint8_t>(spoilt ^ (1U << (choices_.octet() % 8U)));
  }

  void send_again() {
    if (!last_.empty()) becomes(Fate::failed);
    wire_.insert(wire_.end(), last_.begin(), last_.end());
  }

  void send_no_record() {
    const auto octets = choices_.octets(choices_.octet());
    if (!octets.empty()) becomes(Fate::stuck);
    wire_.insert(wire_.end(), octets.begin(), octets.end());
  }

  // Decrypts and checks the records that pgveil's end sends.
  void take(ByteView records) {
    while (!records.empty()) {
      require(!alert_came_ && records.size() >= TrafficKey::kOverhead);
      const std::size_t size = TrafficKey::kHeaderBytes + (std::size_t{records[3]} << 8U | records[4]);
      require(size <= records.size());
      Bytes content(size);
      const auto opened = opening_.open(records.first(size), content);
      require(opened.has_value());
      content.resize(opened->size);
      records = records.subspan(size);
      take(ContentType{opened->type}, content);
      if (ContentType{opened->type} == ContentType::handshake) continue;
      octets_of_key_ += size;
      ++records_of_key_;
    }
  }

  void take(ContentType type, const Bytes& content) {
    switch (type) {
      case ContentType::application_data:
        require(!owes_update_ && !content.empty() && content.size() <= most_content_);
        require(octets_of_key_ < key_limits_.bytes && records_of_key_ < key_limits_.records);
        ++spare_key_updates_;
        opened_.insert(opened_.end(), content.begin(), content.end());
        return;
      case ContentType::handshake:
        require(content == Bytes{kKeyUpdate, 0, 0, 1, 0} || content == Bytes{kKeyUpdate, 0, 0, 1, 1});
        // pgveil may request a new key once for each key of the peer.
        if (content.back() == 1) require(requests_++ <= key_updates_);
        opening_.update();
        ++own_updates_;
        octets_of_key_ = records_of_key_ = 0;
        owes_update_ = false;
        return;
      case ContentType::alert:
        require(content.size() == 2);
        alert_came_ = true;
        return;
    }
    require(false);
  }

  // --- our end ---

  void read_piece(const Bytes& piece) {
    ByteView ciphertext(piece);
    // Requests for a new key can fill `out` only because the limits of this fuzzer are so low.
    bool has_room_for_alert = true;
    do {
      Outgoing out(memory_);
      const auto read = ours_.read(ciphertext, plaintext_, out);
      status_ = read.status;
      received_.insert(received_.end(), plaintext_.begin(),
                       plaintext_.begin() + static_cast<std::ptrdiff_t>(read.size));
      take(out.written());
      has_room_for_alert = out.room() >= TrafficKey::kOverhead + 2;
      require(status_ != Status::ready || read.size == plaintext_.size());
    } while (status_ == Status::ready);
    require(is_over() || (status_ == Status::want_input && ciphertext.empty()));
    if (!failed()) return;
    require(alert_came_ || alert_sent_ || has_ended_ || !has_room_for_alert);
    require(ERR_peek_error() != 0);
    ERR_clear_error();
  }

  void write() {
    read();
    if (is_closed_ || failed()) return;
    const Bytes data = some_data();
    opened_.clear();
    ByteView rest(data);
    auto status = Status::want_room;
    while (status == Status::want_room) {
      Outgoing out(memory_);
      status = ours_.write(rest, out);
      require(status == Status::ready || !out.written().empty());
      take(out.written());
    }
    require(status == Status::ready && rest.empty() && opened_ == data);
  }

  void close() {
    Outgoing out(memory_);
    ours_.close(out);
    take(out.written());
    require(alert_came_ && out.written().empty() == std::exchange(is_closed_, true));
  }

  Choices& choices_;
  bool is_client_;
  Bytes plaintext_;
  Bytes memory_;
  std::size_t most_content_;
  KeyLimits key_limits_;
  Cuts cuts_;
  bool cuts_nothing_;
  RecordLayer ours_;
  TrafficKey sealing_;
  TrafficKey opening_;

  std::uint8_t next_octet_ = 0;
  Bytes wire_;  // sent by the peer and not yet read
  Bytes last_;  // the peer's last record
  Bytes sealed_;
  Bytes received_;
  std::size_t compared_ = 0;  // of received_
  Bytes opened_;              // decrypted from the last write
  Fate fate_ = Fate::open;
  Status status_ = Status::want_input;
  std::uint64_t spare_records_ = kSpare;
  std::uint64_t spare_key_updates_ = kSpare;
  std::uint64_t octets_of_key_ = 0;
  std::uint64_t records_of_key_ = 0;
  std::uint64_t key_updates_ = 0;  // of the peer
  std::uint64_t own_updates_ = 0;
  std::uint64_t requests_ = 0;  // by pgveil, for the peer's next key
  bool asks_for_update_ = false;
  bool owes_update_ = false;
  bool alert_sent_ = false;
  bool alert_came_ = false;
  bool is_closed_ = false;
  bool has_ended_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Choices choices(ByteView(data, size));
  const std::uint8_t kind = choices.octet();
  Connection connection(kFirstSuite + kind / 2U % 3U, kind % 2U == 1, choices);
  for (std::size_t action = 0; action < kMaxActions && !choices.empty() && !connection.failed(); ++action)
    connection.act();
  connection.end();
  return 0;
}
