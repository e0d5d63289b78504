// Compares an OpenSSL connection with pgveil's records after the same handshake. A peer has the keys and
// sends anything. Both ends get the same bytes. Both must deliver the same data, send the same, and be in the
// same state (open, closed or failed). kDifferences has the intended exceptions with their reasons.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/fuzz/choices.h"
#include "tests/fuzz/cuts.h"
#include "tests/fuzz/require.h"
#include "tls/internal/openssl.h"
#include "tls/internal/record_layer.h"

namespace {

using namespace pgveil::tls;
using pgveil::fuzz::Choices;
using pgveil::fuzz::Cuts;
using pgveil::fuzz::require;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kMaxActions = 48;
constexpr std::uint8_t kAlert = 21;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kData = 23;
constexpr std::uint8_t kTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::size_t kMaxOfATicket = 131'337;  // by RFC 8446, 4.6.1; OpenSSL accepts one octet more
constexpr int kMaxWithoutData = 32;             // consecutive records
constexpr std::size_t kMaxSealed = TrafficKey::kMaxBody - TrafficKey::kTagBytes - 1;

void append(Bytes& to, ByteView bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// --- allowed differences ---

enum class State { open, closed, failed };

// One entry for the records that an end has sent. Consecutive data is one entry. A KeyUpdate is stored
// without its content, and directly before the data that follows it, since it may be sent at any time before
// that data (RFC 8446, 4.6.3).
struct Said {
  std::uint8_t type;
  Bytes content;
  friend bool operator==(const Said&, const Said&) = default;
};

// The state of an end, and what it has delivered and sent so far.
struct Outcome {
  State state = State::open;
  Bytes received;
  std::vector<Said> said;
  friend bool operator==(const Outcome&, const Outcome&) = default;

  // Returns whether the end has failed with this alert. After close_notify, no further alert is sent.
  [[nodiscard]] bool refuses_with(std::uint8_t alert) const {
    const bool is_failed = state == State::failed && !said.empty() && said.back().type == kAlert;
    return is_failed && (said.back().content == Bytes{2, alert} || said.back().content == Bytes{1, 0});
  }
  [[nodiscard]] bool fails_in_silence() const {
    return state == State::failed &&
           (said.empty() || said.back().type != kAlert || said.back().content == Bytes{1, 0});
  }
};

// The actions of the peer that may cause a difference.
struct Deeds {
  std::vector<Said> said;  // the type and the first octets of each record
  int most_in_a_row = 0;   // consecutive records without data
  int most_warnings_in_a_row = 0;
  std::size_t most_inner = 0;  // octets of content, type and padding
  bool has_said_bad_ticket = false;
  bool has_spoilt_version = false;
  bool has_sent_no_record = false;
  bool has_split_message = false;
  bool has_said_odd_alert = false;
  bool has_said_odd_key_update = false;
  bool has_asked_for_key = false;
  bool has_ended = false;
};

using Difference = bool (*)(const Deeds& deeds, const Outcome& ours, const Outcome& theirs);

// All differences that are allowed, with the reason. In each case, the data of one end must begin with all
// data that the second end has delivered.
const std::array<Difference, 12> kDifferences{
    // If the input ends without close_notify, OpenSSL sends decode_error. pgveil sends nothing: the peer is gone.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_ended && ours.received == theirs.received && ours.fails_in_silence() &&
             theirs.refuses_with(SSL_AD_DECODE_ERROR);
    },
    // pgveil limits consecutive records without data of any kind. OpenSSL limits only empty records and warnings.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& /*theirs*/) {
      return deeds.most_in_a_row > kMaxWithoutData && ours.refuses_with(SSL_AD_UNEXPECTED_MESSAGE);
    },
    // OpenSSL refuses the fifth consecutive warning (MAX_WARN_ALERT_COUNT). pgveil counts it as a record
    // without data.
    [](const Deeds& deeds, const Outcome& /*ours*/, const Outcome& theirs) {
      return deeds.most_warnings_in_a_row >= 5 && theirs.refuses_with(SSL_AD_UNEXPECTED_MESSAGE);
    },
    // Content, type and padding together are at most 2^14 + 1 octets (RFC 8446, 5.4). OpenSSL does not count the
    // padding.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& /*theirs*/) {
      return deeds.most_inner > TrafficKey::kMaxContent + 1 && ours.refuses_with(SSL_AD_RECORD_OVERFLOW);
    },
    // OpenSSL parses tickets and refuses bad ones. pgveil skips them, since it never resumes a session.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_said_bad_ticket &&
             (ours.refuses_with(SSL_AD_ILLEGAL_PARAMETER) || theirs.refuses_with(SSL_AD_DECODE_ERROR) ||
              theirs.refuses_with(SSL_AD_ILLEGAL_PARAMETER));
    },
    // OpenSSL checks the version in the header of a record. By the RFC it must be ignored (5.1), and it is
    // authenticated.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return (deeds.has_spoilt_version || deeds.has_sent_no_record) && ours.received == theirs.received &&
             (theirs.refuses_with(SSL_AD_DECODE_ERROR) || theirs.refuses_with(SSL_AD_PROTOCOL_VERSION)) &&
             (ours.state == State::open || ours.fails_in_silence() ||
              ours.refuses_with(SSL_AD_UNEXPECTED_MESSAGE) || ours.refuses_with(SSL_AD_BAD_RECORD_MAC) ||
              ours.refuses_with(SSL_AD_RECORD_OVERFLOW));
    },
    // The level of an alert has no meaning (6). OpenSSL reports a failure if a close_notify whose level is
    // not `warning` follows a user_canceled.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.most_warnings_in_a_row > 0 && ours.received == theirs.received &&
             ours.said == theirs.said && ours.state == State::closed && theirs.state == State::failed;
    },
    // Between the records of one message there must be no record of another type (5.1). OpenSSL refuses all of them.
    // pgveil refuses data, but processes an alert, and ignores an empty record of data.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_split_message && theirs.refuses_with(SSL_AD_UNEXPECTED_MESSAGE) &&
             ours.received == theirs.received;
    },
    // OpenSSL neither writes nor closes while a message of the peer is incomplete. The RFC does not require this.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_split_message && ours.received == theirs.received && ours.state == theirs.state &&
             ours.state != State::failed && ours.said.size() >= theirs.said.size();
    },
    // An alert that is not two octets long cannot be decoded, so pgveil sends decode_error (6). OpenSSL sends
    // unexpected_message.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_said_odd_alert && ours.received == theirs.received &&
             ours.refuses_with(SSL_AD_DECODE_ERROR) && theirs.refuses_with(SSL_AD_UNEXPECTED_MESSAGE);
    },
    // A KeyUpdate of more than one octet cannot be decoded, so pgveil sends decode_error. OpenSSL sends
    // illegal_parameter.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_said_odd_key_update && ours.received == theirs.received &&
             ours.refuses_with(SSL_AD_DECODE_ERROR) && theirs.refuses_with(SSL_AD_ILLEGAL_PARAMETER);
    },
    // After OpenSSL 3.0 has answered a KeyUpdate that requests one, it checks the header of the next message
    // only when more octets of this message arrive.
    [](const Deeds& deeds, const Outcome& ours, const Outcome& theirs) {
      return deeds.has_asked_for_key && deeds.has_split_message && theirs.state == State::open &&
             (ours.refuses_with(SSL_AD_UNEXPECTED_MESSAGE) || ours.refuses_with(SSL_AD_DECODE_ERROR));
    },
};

// --- the handshake ---

struct Suite {
  std::uint32_t id;
  const char* name;
  std::size_t hash_bytes;
  // A pre-shared key, so that the handshake needs no certificate and no signature.
  SslSession key;
  SslContext client;
  SslContext server;
};

struct Secrets {
  Bytes client;
  Bytes server;
};

int nibble(char digit) {
  return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

void hear(const SSL* ssl, const char* line) {
  const std::string_view text(line);
  auto& secrets = *static_cast<Secrets*>(SSL_get_ex_data(ssl, 0));
  Bytes secret;
  for (std::size_t place = text.rfind(' ') + 1; place + 1 < text.size(); place += 2)
    secret.push_back(static_cast<std::uint8_t>(nibble(text[place]) << 4 | nibble(text[place + 1])));
  if (text.starts_with("CLIENT_TRAFFIC_SECRET_0 "))
    secrets.client = std::move(secret);
  else if (text.starts_with("SERVER_TRAFFIC_SECRET_0 "))
    secrets.server = std::move(secret);
}

SSL_SESSION* shared_key(SSL* ssl) {
  auto* session = static_cast<SSL_SESSION*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0));
  SSL_SESSION_up_ref(session);
  return session;
}

SslContext context_for(const SSL_METHOD* method, const Suite& suite) {
  SslContext context(SSL_CTX_new(method));
  SSL_CTX_set_ex_data(context.get(), 0, suite.key.get());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context.get(), suite.name);
  // The same settings as in set_common_policy().
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_keylog_callback(context.get(), hear);
  SSL_CTX_set_psk_use_session_callback(context.get(), [](SSL* ssl, const EVP_MD*, const unsigned char** name,
                                                         std::size_t* size, SSL_SESSION** key) {
    static constexpr unsigned char kName = 'k';
    *name = &kName;
    *size = 1;
    *key = shared_key(ssl);
    return 1;
  });
  SSL_CTX_set_psk_find_session_callback(context.get(),
                                        [](SSL* ssl, const unsigned char*, std::size_t, SSL_SESSION** key) {
                                          *key = shared_key(ssl);
                                          return 1;
                                        });
  return context;
}

std::vector<Suite> load_suites() {
  std::vector<Suite> suites;
  suites.push_back({0x1301, "TLS_AES_128_GCM_SHA256", 32, nullptr, nullptr, nullptr});
  suites.push_back({0x1302, "TLS_AES_256_GCM_SHA384", 48, nullptr, nullptr, nullptr});
  suites.push_back({0x1303, "TLS_CHACHA20_POLY1305_SHA256", 32, nullptr, nullptr, nullptr});
  for (Suite& suite : suites) {
    const SslContext any(SSL_CTX_new(TLS_method()));
    const Ssl ssl(SSL_new(any.get()));
    const std::array<unsigned char, 2> id{static_cast<unsigned char>(suite.id >> 8U),
                                          static_cast<unsigned char>(suite.id)};
    suite.key.reset(SSL_SESSION_new());
    const Bytes secret(suite.hash_bytes, 0x55);
    SSL_SESSION_set1_master_key(suite.key.get(), secret.data(), secret.size());
    SSL_SESSION_set_cipher(suite.key.get(), SSL_CIPHER_find(ssl.get(), id.data()));
    SSL_SESSION_set_protocol_version(suite.key.get(), TLS1_3_VERSION);
    SSL_SESSION_set_timeout(suite.key.get(), 1'000'000'000);  // seconds; five minutes by default
    suite.client = context_for(TLS_client_method(), suite);
    suite.server = context_for(TLS_server_method(), suite);
  }
  return suites;
}

void move_bytes(SSL* from, SSL* to) {
  std::array<std::uint8_t, 4'096> memory;
  for (;;) {
    const int size = BIO_read(SSL_get_wbio(from), memory.data(), static_cast<int>(memory.size()));
    if (size <= 0) return;
    BIO_write(SSL_get_rbio(to), memory.data(), size);
  }
}

// --- the two ends ---

// Decrypts the records that an end sends.
class Listener {
 public:
  Listener(const CipherSuite& suite, const Bytes& secret)
      : key_(suite, TrafficSecret(secret), TrafficKey::Use::open) {}

  void take(ByteView records, std::vector<Said>& said) {
    while (!records.empty()) {
      require(records.size() >= TrafficKey::kOverhead);
      const std::size_t size = TrafficKey::kHeaderBytes + (std::size_t{records[3]} << 8U | records[4]);
      require(size <= records.size());
      Bytes content(size);
      const auto opened = key_.open(records.first(size), content);
      require(opened.has_value());
      content.resize(opened->size);
      records = records.subspan(size);
      if (opened->type == kHandshake) {
        require(content == Bytes{kKeyUpdate, 0, 0, 1, 0});
        key_.update();
        has_new_key_ = true;
        continue;
      }
      const bool is_data = opened->type == kData;
      if (is_data && std::exchange(has_new_key_, false)) said.push_back({kHandshake, {}});
      if (is_data && !said.empty() && said.back().type == kData)
        append(said.back().content, content);
      else
        said.push_back({opened->type, content});
    }
  }

 private:
  TrafficKey key_;
  bool has_new_key_ = false;
};

class OurEnd {
 public:
  OurEnd(const CipherSuite& suite, bool is_client, const Bytes& read, const Bytes& write, std::size_t room,
         Cuts cuts)
      : records_({.suite = suite,
                  .read = TrafficSecret(read),
                  .write = TrafficSecret(write),
                  .is_client = is_client}),
        listener_(suite, write),
        plaintext_(room),
        memory_(4'096),
        cuts_(cuts) {}

  void read(ByteView bytes) {
    do {
      const std::size_t size = bytes.empty() ? 0 : cuts_.next(bytes.size());
      const Bytes piece(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      bytes = bytes.subspan(size);
      read_piece(piece);
    } while (!bytes.empty());
  }
  void end_of_input() {
    records_.end_of_input();
    read_piece({});
  }
  void write(ByteView data) {
    auto status = EngineStatus::want_room;
    while (status == EngineStatus::want_room) {
      Outgoing out(memory_);
      status = records_.write(data, out);
      listener_.take(out.written(), outcome_.said);
    }
    if (status == EngineStatus::failed) outcome_.state = State::failed;
    ERR_clear_error();
  }
  void close() {
    Outgoing out(memory_);
    records_.close(out);
    listener_.take(out.written(), outcome_.said);
  }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

 private:
  void read_piece(const Bytes& piece) {
    ByteView ciphertext(piece);
    while (outcome_.state == State::open) {
      Outgoing out(memory_);
      const auto read = records_.read(ciphertext, plaintext_, out);
      append(outcome_.received, ByteView(plaintext_).first(read.size));
      listener_.take(out.written(), outcome_.said);
      if (read.status == EngineStatus::failed) outcome_.state = State::failed;
      if (read.status == EngineStatus::closed) outcome_.state = State::closed;
      if (read.status == EngineStatus::want_input) break;
    }
    ERR_clear_error();
  }

  RecordLayer records_;
  Listener listener_;
  Bytes plaintext_;
  Bytes memory_;
  Cuts cuts_;
  Outcome outcome_;
};

class OpenSslEnd {
 public:
  // Makes the handshake.
  OpenSslEnd(const Suite& suite, bool is_client)
      : ssl_(SSL_new((is_client ? suite.client : suite.server).get())), plaintext_(TrafficKey::kMaxContent) {
    const Ssl peer(SSL_new((is_client ? suite.server : suite.client).get()));
    Secrets of_peer;
    prepare(ssl_.get(), secrets_, is_client);
    prepare(peer.get(), of_peer, !is_client);
    SSL* first = is_client ? ssl_.get() : peer.get();
    SSL* second = is_client ? peer.get() : ssl_.get();
    SSL_do_handshake(first);
    move_bytes(first, second);
    SSL_do_handshake(second);
    move_bytes(second, first);
    require(SSL_do_handshake(first) == 1);
    move_bytes(first, second);
    require(SSL_do_handshake(second) == 1);
    require(secrets_.client == of_peer.client && secrets_.server == of_peer.server);
    require(!secrets_.client.empty() && !secrets_.server.empty());
    listener_ = std::make_unique<Listener>(*find_cipher_suite(suite.id),
                                           is_client ? secrets_.client : secrets_.server);
  }
  [[nodiscard]] const Secrets& secrets() const { return secrets_; }

  void read(ByteView bytes) {
    if (outcome_.state != State::open) return;
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
    for (;;) {
      const int size = SSL_read(ssl_.get(), plaintext_.data(), static_cast<int>(plaintext_.size()));
      if (size <= 0) return end_call(size);
      append(outcome_.received, ByteView(plaintext_).first(static_cast<std::size_t>(size)));
    }
  }
  void end_of_input() {
    BIO_set_mem_eof_return(SSL_get_rbio(ssl_.get()), 0);
    read({});
  }
  void write(ByteView data) {
    while (!data.empty()) {
      const int size = SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()));
      if (size <= 0) return end_call(size);
      data = data.subspan(static_cast<std::size_t>(size));
    }
    end_call(1);
  }
  void close() {
    SSL_shutdown(ssl_.get());
    end_call(1);
  }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }
  // Returns OpenSSL's text for its failure.
  [[nodiscard]] const char* reason() const { return reason_ == 0 ? "-" : ERR_reason_error_string(reason_); }

 private:
  static void prepare(SSL* ssl, Secrets& secrets, bool is_client) {
    SSL_set_ex_data(ssl, 0, &secrets);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    is_client ? SSL_set_connect_state(ssl) : SSL_set_accept_state(ssl);
  }

  void end_call(int result) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_ZERO_RETURN) outcome_.state = State::closed;
    if (error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL) {
      outcome_.state = State::failed;
      reason_ = ERR_peek_error();
    }
    ERR_clear_error();
    Bytes sent(BIO_ctrl_pending(SSL_get_wbio(ssl_.get())));
    if (sent.empty()) return;
    BIO_read(SSL_get_wbio(ssl_.get()), sent.data(), static_cast<int>(sent.size()));
    listener_->take(sent, outcome_.said);
  }

  Ssl ssl_;
  Bytes plaintext_;
  Secrets secrets_;
  std::unique_ptr<Listener> listener_;
  Outcome outcome_;
  unsigned long reason_ = 0;
};

// --- the conversation ---

class Conversation {
 public:
  Conversation(const Suite& suite, bool is_client, Choices& choices)
      : choices_(choices),
        is_client_(is_client),
        theirs_(suite, is_client),
        ours_(*find_cipher_suite(suite.id), is_client, of_peer(), of_us(),
              std::size_t{16} << (choices.octet() % 12U),
              choices.octet() % 2 == 0 ? Cuts(kWhole) : Cuts(choices.octets(4))),
        sealing_(*find_cipher_suite(suite.id), TrafficSecret(of_peer()), TrafficKey::Use::seal) {}

  // Returns false once the two ends differ in an allowed way.
  [[nodiscard]] bool act() {
    const std::uint8_t action = choices_.octet();
    switch (action % 14) {
      case 0: say(kData, some_data(TrafficKey::kMaxContent)); break;
      case 1: say_padded(kData, some_data(TrafficKey::kMaxContent)); break;
      case 2: say_in_parts(key_update()); break;
      case 3: say_in_parts(ticket()); break;
      case 4: say_alert(); break;
      case 5: say_anything(); break;
      case 6: say_spoilt(); break;
      case 7: append(wire_, last_); break;
      case 8: say_no_record(); break;
      case 9: say_messages(); break;
      case 10: say_often(); break;
      case 11: say_padded(choices_.octet(), some_data(kMaxSealed)); break;
      case 12: return write();
      default: return close();
    }
    return action >= 0x80 || read();
  }

  [[nodiscard]] bool end() {
    if (!read()) return false;
    deeds_.has_ended = true;
    ours_.end_of_input();
    theirs_.end_of_input();
    return agree();
  }

 private:
  static constexpr std::array<std::uint8_t, 1> kWhole{255};

  [[nodiscard]] const Bytes& of_us() const {
    return is_client_ ? theirs_.secrets().client : theirs_.secrets().server;
  }
  [[nodiscard]] const Bytes& of_peer() const {
    return is_client_ ? theirs_.secrets().server : theirs_.secrets().client;
  }

  // Returns whether both ends have the same outcome. Requires that a difference is an allowed one.
  [[nodiscard]] bool agree() const {
    const Outcome& ours = ours_.outcome();
    const Outcome& theirs = theirs_.outcome();
    if (ours == theirs) return true;
    const std::size_t both = std::min(ours.received.size(), theirs.received.size());
    require(std::equal(ours.received.begin(), ours.received.begin() + std::ptrdiff_t(both),
                       theirs.received.begin()));
    const bool is_meant = std::ranges::any_of(
        kDifferences, [&](Difference difference) { return difference(deeds_, ours, theirs); });
    if (!is_meant) {
      tell("ours", ours, "-");
      tell("theirs", theirs, theirs_.reason());
      std::fprintf(stderr, "the peer said:");
      for (const Said& said : deeds_.said) {
        std::fprintf(stderr, " %d[", said.type);
        for (const auto octet : said.content) std::fprintf(stderr, " %d", octet);
        std::fprintf(stderr, " ]");
      }
      std::fprintf(stderr, " (%zu octets of a message %d)", begun_.size(), begun_.empty() ? -1 : begun_[0]);
      std::fprintf(stderr, "%s\n", deeds_.has_ended ? ", and no more" : "");
    }
    require(is_meant);
    return false;
  }
  static void tell(const char* who, const Outcome& outcome, const char* reason) {
    static constexpr std::array kStates{"open", "closed", "failed"};
    std::fprintf(stderr, "%s: %s (%s), %zu octets received, said:", who,
                 kStates[static_cast<std::size_t>(outcome.state)], reason, outcome.received.size());
    for (const Said& said : outcome.said)
      std::fprintf(stderr, " %d[%zu: %d %d]", said.type, said.content.size(),
                   said.content.empty() ? -1 : said.content[0],
                   said.content.size() < 2 ? -1 : said.content[1]);
    std::fprintf(stderr, "\n");
  }

  bool read() {
    const Bytes bytes = std::exchange(wire_, {});
    ours_.read(bytes);
    theirs_.read(bytes);
    return agree();
  }
  bool write() {
    if (is_closed_ || ours_.outcome().state == State::failed) return true;
    const Bytes data = some_data(TrafficKey::kMaxContent);
    ours_.write(data);
    theirs_.write(data);
    return agree();
  }
  bool close() {
    if (ours_.outcome().state == State::failed) return true;
    is_closed_ = true;
    ours_.close();
    theirs_.close();
    return agree();
  }

  // --- the peer ---

  Bytes some_data(std::size_t most) {
    static const Bytes numbers = [] {
      Bytes all(kMaxSealed + 256);
      std::iota(all.begin(), all.end(), std::uint8_t{1});
      return all;
    }();
    const auto data = ByteView(numbers).subspan(next_octet_, choices_.size(most));
    next_octet_ = static_cast<std::uint8_t>(next_octet_ + data.size());
    return {data.begin(), data.end()};
  }

  // Stores a record with `content` and `type`, without its padding.
  void note(std::uint8_t type, ByteView content) {
    deeds_.most_inner = std::max(deeds_.most_inner, content.size() + 1);
    while (type == 0 && !content.empty()) {
      type = content.back();
      content = content.first(content.size() - 1);
    }
    deeds_.said.push_back(
        {type,
         Bytes(content.begin(), content.begin() + std::ptrdiff_t(std::min<std::size_t>(content.size(), 8)))});
    if (type == kHandshake) note_messages(content);
    const bool has_data = type == kData && !content.empty();
    in_a_row_ = has_data ? 0 : in_a_row_ + 1;
    deeds_.most_in_a_row = std::max(deeds_.most_in_a_row, in_a_row_);
    if (type == kAlert && content.size() != 2) deeds_.has_said_odd_alert = true;
    warnings_in_a_row_ = type == kAlert ? warnings_in_a_row_ + 1 : content.empty() ? warnings_in_a_row_ : 0;
    deeds_.most_warnings_in_a_row = std::max(deeds_.most_warnings_in_a_row, warnings_in_a_row_);
  }

  void note_messages(ByteView content) {
    append(begun_, content);
    while (begun_.size() >= 4) {
      const std::size_t size =
          std::size_t{4} + (std::size_t{begun_[1]} << 16U | std::size_t{begun_[2]} << 8U | begun_[3]);
      if (begun_[0] == kTicket && size > 4 + kMaxOfATicket) deeds_.has_said_bad_ticket = true;
      if (begun_[0] == kKeyUpdate && size != 5) deeds_.has_said_odd_key_update = true;
      if (begun_.size() < size) break;
      if (begun_[0] == kKeyUpdate && size == 5 && begun_[4] == 1) deeds_.has_asked_for_key = true;
      if (begun_[0] == kTicket && !is_ticket(ByteView(begun_).subspan(4, size - 4)))
        deeds_.has_said_bad_ticket = true;
      begun_.erase(begun_.begin(), begun_.begin() + std::ptrdiff_t(size));
    }
    if (!begun_.empty()) deeds_.has_split_message = true;
  }

  // Returns whether `body` is a ticket without extensions. OpenSSL also accepts tickets with extensions.
  static bool is_ticket(ByteView body) {
    constexpr std::size_t kTimes = 8;
    if (body.size() <= kTimes) return false;
    body = body.subspan(kTimes);
    const std::size_t nonce = std::size_t{1} + body[0];
    if (body.size() < nonce + 2) return false;
    body = body.subspan(nonce);
    const std::size_t ticket = std::size_t{body[0]} << 8U | body[1];
    return ticket > 0 && body.size() == 2 + ticket + 2 && body[2 + ticket] == 0 && body[3 + ticket] == 0;
  }

  void say(std::uint8_t type, ByteView content) {
    note(type, content);
    last_.resize(content.size() + TrafficKey::kOverhead);
    require(sealing_.seal(ContentType{type}, content, last_));
    append(wire_, last_);
  }

  // Sends a record with padding: zeros after the type.
  void say_padded(std::uint8_t type, Bytes content) {
    if (content.size() >= kMaxSealed) return say(type, content);
    const std::size_t padding = std::min(choices_.size(4'096), kMaxSealed - content.size() - 1);
    content.push_back(type);
    content.resize(content.size() + padding);
    say(0, content);
  }

  void say_in_parts(ByteView message) {
    const bool is_key_update = message[0] == kKeyUpdate;
    while (!message.empty()) {
      const auto part = message.first(std::min<std::size_t>(message.size(), 1U + choices_.octet()));
      say(kHandshake, part);
      message = message.subspan(part.size());
    }
    if (is_key_update) sealing_.update();
  }

  Bytes key_update() { return {kKeyUpdate, 0, 0, 1, static_cast<std::uint8_t>(choices_.octet() % 2)}; }

  // Returns a ticket (RFC 8446, 4.6.1): lifetime, age_add, nonce, ticket, extensions.
  Bytes ticket() {
    const std::uint8_t size = std::max<std::uint8_t>(choices_.octet(), 1);
    Bytes message{kTicket, 0, 0, 0, 0, 0, 0, 10, 1, 2, 3, 4, 1, 9, 0, size};
    message.resize(message.size() + size, 't');
    message.insert(message.end(), {0, 0});
    const std::size_t body = message.size() - 4;
    message[2] = static_cast<std::uint8_t>(body >> 8U);
    message[3] = static_cast<std::uint8_t>(body);
    return message;
  }

  void say_alert() {
    const std::array content{choices_.octet(), choices_.octet()};
    say(kAlert, content);
  }

  // Sends several messages, or parts of them, in one record.
  void say_messages() {
    Bytes all;
    const std::uint8_t which = choices_.octet();
    if (which & 1U) append(all, ticket());
    if (which & 2U) append(all, ticket());
    if (which & 4U) append(all, key_update());
    if (which & 8U) append(all, ticket());
    if (which & 16U) append(all, key_update());
    if (which & 32U) append(all, choices_.octets(choices_.octet() % 16U));
    if (which & 64U) all.resize(all.size() - std::min<std::size_t>(all.size(), choices_.octet() % 8U));
    say(kHandshake, all);
    if (which & 128U) sealing_.update();
  }

  void say_often() {
    const std::uint8_t what = choices_.octet();
    const unsigned times = choices_.octet() % 48U;
    const std::array<std::uint8_t, 2> canceled{1, SSL_AD_USER_CANCELLED};
    for (unsigned i = 0; i < times; ++i) {
      switch (what % 5U) {
        case 0: say(kData, {}); break;
        case 1: say(kAlert, canceled); break;
        case 2: say_in_parts(Bytes{kKeyUpdate, 0, 0, 1, static_cast<std::uint8_t>(what >> 7U)}); break;
        case 3:
          say(kHandshake, Bytes{kTicket, 0, 0, 17, 0, 0, 0, 10, 1, 2, 3, 4, 1, 9, 0, 3, 't', 't', 't', 0, 0});
          break;
        default: say(0, Bytes{23, 0, 0}); break;
      }
    }
  }

  void say_anything() {
    const std::uint8_t type = choices_.octet();
    say(type, choices_.octets(choices_.octet()));
  }

  void say_no_record() {
    deeds_.has_sent_no_record = true;
    append(wire_, choices_.octets(choices_.octet()));
  }

  void say_spoilt() {
    say(kData, some_data(TrafficKey::kMaxContent));
    const std::size_t place = (choices_.octet() * std::size_t{257}) % last_.size();
    if (place == 1 || place == 2) deeds_.has_spoilt_version = true;
    auto& spoilt = wire_[wire_.size() - last_.size() + place];
    spoilt = static_cast<std::uint8_t>(spoilt ^ (1U << (choices_.octet() % 8U)));
  }

  Choices& choices_;
  bool is_client_;
  OpenSslEnd theirs_;
  OurEnd ours_;
  TrafficKey sealing_;
  std::uint8_t next_octet_ = 0;
  Bytes wire_;
  Bytes last_;
  Bytes begun_;  // message
  int in_a_row_ = 0;
  int warnings_in_a_row_ = 0;
  bool is_closed_ = false;
  Deeds deeds_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const std::vector<Suite> suites = load_suites();
  Choices choices(ByteView(data, size));
  const std::uint8_t kind = choices.octet();
  Conversation conversation(suites[kind / 2U % suites.size()], kind % 2U == 1, choices);
  for (std::size_t action = 0; action < kMaxActions && !choices.empty(); ++action)
    if (!conversation.act()) return 0;
  (void)conversation.end();
  return 0;
}
