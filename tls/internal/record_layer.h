// The records after a handshake of TLS 1.3, decrypted and encrypted between buffers of the caller (RFC 8446,
// 4.6, 5 and 6). It replaces OpenSSL's connection, which copies every byte two more times and holds several
// KiB as long as the connection lives. The ciphers are OpenSSL's (docs/decisions/0016-records-of-our-own.md).
// An invalid record leads to the alert that the RFC requires, and to an error in OpenSSL's error queue, with
// OpenSSL's error code. This header is internal to tls/.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tls/buffers.h"
#include "tls/internal/traffic_key.h"

namespace pgveil::tls {

// The limits after which a key is replaced, whichever is reached first. With AES-GCM 2^24.5 records of the
// largest size are safe (RFC 8446, 5.5), and a peer may need some time to replace its key.
struct KeyLimits {
#ifdef PGVEIL_RECORDS_PER_KEY  // set by tests/tls-peers, to reach the limit within a few MiB
  std::uint64_t records = PGVEIL_RECORDS_PER_KEY;
#else
  std::uint64_t records = std::uint64_t{1} << 24U;
#endif
  std::uint64_t bytes = std::uint64_t{1} << 38U;  // encrypted bytes, with headers
};

class RecordLayer {
 public:
  using Status = EngineStatus;

  // The results of the handshake.
  struct Agreement {
    const CipherSuite& suite;
    const TrafficSecret& read;
    const TrafficSecret& write;
    bool is_client;                                      // true: tickets may arrive
    std::size_t most_content = TrafficKey::kMaxContent;  // of our records; less by RFC 6066, 4
    KeyLimits key_limits = {};
    std::uint64_t first_record = 0;  // number of the first record, for both keys; above 0 only in tests
  };
  explicit RecordLayer(const Agreement& agreement);

  // Returns false if OpenSSL could not create the keys. Then no other function may be called.
  [[nodiscard]] bool is_usable() const { return read_key_.is_usable() && write_key_.is_usable(); }

  // The same as Engine::read(). `closed`: close_notify was received. After `failed` only `out` may be sent.
  [[nodiscard]] ReadResult read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out);
  // The same as Engine::write(). `out` must have room for kMinRoom bytes.
  [[nodiscard]] Status write(ByteView& plaintext, Outgoing& out);
  void end_of_input() { end_of_input_ = true; }
  // Appends close_notify, once.
  void close(Outgoing& out);

 private:
  // The maximum number of consecutive records without data, and of KeyUpdates. Each record costs as much as a
  // record with data, and a KeyUpdate costs more. No peer needs more.
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

  // Whether a key has sealed or opened as much as it may. `bytes` are encrypted bytes; the key counts its
  // records.
  [[nodiscard]] bool is_used_up(const TrafficKey& key, std::uint64_t bytes) const {
    return key.records() >= key_limits_.records || bytes >= key_limits_.bytes;
  }

  TrafficKey read_key_;
  TrafficKey write_key_;
  bool is_client_;
  std::size_t most_content_;
  KeyLimits key_limits_;
  std::uint64_t bytes_read_ = 0;     // with read_key_
  std::uint64_t bytes_written_ = 0;  // with write_key_

  std::vector<std::uint8_t> begun_;  // the beginning of an incomplete record
  std::vector<std::uint8_t> held_;   // decrypted content for which `plaintext` had no room
  // An incomplete handshake message: a KeyUpdate has five bytes, and of a ticket only the length is kept.
  std::array<std::uint8_t, 5> message_{};
  std::size_t message_bytes_ = 0;
  std::size_t ticket_bytes_ = 0;          // bytes of a ticket that are still to arrive
  std::uint64_t spare_records_ = kSpare;  // records without data still accepted before the next data
  // How many more KeyUpdates are accepted before the next data. Each record that we send allows one more:
  // JSSE asks for a new key with every record that it reads after its jdk.tls.keyLimits, until the new key
  // arrives, and many records may be in transit.
  std::uint64_t spare_key_updates_ = kSpare;
  bool owes_key_update_ = false;
  bool has_asked_for_key_ = false;  // the peer's next key, which has not arrived yet
  bool end_of_input_ = false;
  bool close_notify_came_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace pgveil::tls
