// What follows a handshake of TLS 1.3: records in, bytes out, and the other way (RFC 8446, 4.6, 5 and 6). It
// takes the place of OpenSSL's connection, which copies every byte twice more and holds several KiB for as
// long as the connection lives; the ciphers stay OpenSSL's (docs/decisions/0016-records-of-our-own.md).
// Whatever it will not have leads to the alert of the RFC, and is told in OpenSSL's error queue, in OpenSSL's
// words. For the .cc files of this layer only.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tls/buffers.h"
#include "tls/internal/traffic_key.h"

namespace pgveil::tls {

// After how much one key is replaced, whichever comes first. 2^24.5 records of the largest size are safe with
// AES-GCM (RFC 8446, 5.5), and a peer may need some time for its answer.
struct KeyLimits {
#ifdef PGVEIL_RECORDS_PER_KEY  // tests/tls-peers: within a few MiB
  std::uint64_t records = PGVEIL_RECORDS_PER_KEY;
#else
  std::uint64_t records = std::uint64_t{1} << 24U;
#endif
  std::uint64_t octets = std::uint64_t{1} << 38U;  // on the wire
};

class RecordLayer {
 public:
  using Status = EngineStatus;

  // What a handshake has agreed on.
  struct Agreement {
    const CipherSuite& suite;
    const TrafficSecret& read;
    const TrafficSecret& write;
    bool is_client;                                       // tickets may come
    std::size_t most_content = TrafficKey::kMostContent;  // of a record of ours; less by RFC 6066, 4
    KeyLimits key_limits = {};
    std::uint64_t first_record = 0;  // of both keys; above 0 in tests only
  };
  explicit RecordLayer(const Agreement& agreement);

  // False if OpenSSL could not make the keys: then nothing else may be called.
  [[nodiscard]] bool is_usable() const { return read_key_.is_usable() && write_key_.is_usable(); }

  // As Engine's. `closed`: close_notify has come. After `failed` nothing but sending what is in `out`.
  [[nodiscard]] ReadResult read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out);
  // As Engine's. Wants room for kLeastRoom bytes.
  [[nodiscard]] Status write(ByteView& plaintext, Outgoing& out);
  void end_of_input() { end_of_input_ = true; }
  // Appends close_notify, once.
  void close(Outgoing& out);

 private:
  // No peer needs more in a row than this: each costs as much as data, a KeyUpdate more.
  static constexpr std::uint64_t kSpare = 32;

  [[nodiscard]] Status next_record(ByteView& ciphertext, ByteView& record, Outgoing& out);
  [[nodiscard]] Status wait_for_input() const;
  [[nodiscard]] Status check_header(ByteView header, Outgoing& out);
  [[nodiscard]] Status read_record(ByteView record, std::span<std::uint8_t> plaintext, std::size_t& size,
                                   Outgoing& out);
  [[nodiscard]] Status take_content(std::uint8_t type, ByteView content, Outgoing& out);
  [[nodiscard]] Status take_record_without_data(Outgoing& out);
  [[nodiscard]] Status take_alert(ByteView content, Outgoing& out);
  [[nodiscard]] Status take_handshake(ByteView content, Outgoing& out);
  [[nodiscard]] Status take_message_header(Outgoing& out);
  [[nodiscard]] Status take_key_update(std::uint8_t request, Outgoing& out);
  [[nodiscard]] Status ask_for_new_key(Outgoing& out);
  [[nodiscard]] Status update_own_key(bool asks_for_peers, Outgoing& out);
  [[nodiscard]] Status refuse(std::uint8_t alert, int reason, Outgoing& out);
  [[nodiscard]] Status fail_internally(Outgoing& out);
  void append_alert(std::uint8_t level, std::uint8_t alert, Outgoing& out);
  [[nodiscard]] bool append_record(ContentType type, ByteView content, Outgoing& out);

  // What one key has sealed or opened, on the wire; its records are counted by the key.
  [[nodiscard]] bool is_used_up(const TrafficKey& key, std::uint64_t octets) const {
    return key.records() >= key_limits_.records || octets >= key_limits_.octets;
  }

  TrafficKey read_key_;
  TrafficKey write_key_;
  bool is_client_;
  std::size_t most_content_;
  KeyLimits key_limits_;
  std::uint64_t octets_read_ = 0;     // with read_key_
  std::uint64_t octets_written_ = 0;  // with write_key_

  std::vector<std::uint8_t> begun_;  // a record that has not come as a whole
  std::vector<std::uint8_t> held_;   // content that was read and found no room
  // A message of the handshake that has not come as a whole: a KeyUpdate is no longer, and of a ticket only
  // its length is kept.
  std::array<std::uint8_t, 5> message_{};
  std::size_t message_bytes_ = 0;
  std::size_t ticket_bytes_ = 0;          // still to come
  std::uint64_t spare_records_ = kSpare;  // how many more without data are accepted before the next data
  // The same for KeyUpdates, and one more for each record that we have sent: JSSE asks for a new key at every
  // record that it reads after its jdk.tls.keyLimits, until the answer arrives, and there may be many on
  // their way.
  std::uint64_t spare_key_updates_ = kSpare;
  bool owes_key_update_ = false;
  bool has_asked_for_key_ = false;  // for the peer's next one, which has not come yet
  bool end_of_input_ = false;
  bool close_notify_came_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace pgveil::tls
