// What follows a handshake of TLS 1.3: records in, bytes out, and the other way (RFC 8446, 4.6, 5 and 6). It
// takes the place of OpenSSL's connection, which copies every byte twice more and holds several KiB for as
// long as the connection lives; the ciphers stay OpenSSL's (docs/decisions/0016-records-of-our-own.md).
// Whatever it will not have leads to the alert of the RFC, and is told in OpenSSL's error queue, in OpenSSL's
// words. For the .cc files of this layer only.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tls/engine.h"
#include "tls/traffic_key.h"

namespace pgveil::tls {

class RecordLayer {
 public:
  using Status = Engine::Status;

  // What a handshake has agreed on.
  struct Agreement {
    const CipherSuite& suite;
    const TrafficSecret& read;
    const TrafficSecret& write;
    bool is_client;                                       // tickets may come
    std::size_t most_content = TrafficKey::kMostContent;  // of a record of ours; less by RFC 6066, 4
    // After so much of ours a new key is made: 2^24 records of the largest size are safe with AES-GCM
    // (RFC 8446, 5.5).
    std::uint64_t octets_per_key = std::uint64_t{1} << 38U;
  };
  explicit RecordLayer(const Agreement& agreement);

  // As Engine's. `closed`: close_notify has come. After `failed` nothing but sending what is in `out`.
  [[nodiscard]] Engine::Read read(ByteView& ciphertext, std::span<std::uint8_t> plaintext, Outgoing& out);
  // As Engine's. Wants room for Engine::kLeastRoom bytes.
  [[nodiscard]] Status write(ByteView& plaintext, Outgoing& out);
  void end_of_input() { end_of_input_ = true; }
  // Appends close_notify, once.
  void close(Outgoing& out);

 private:
  [[nodiscard]] Status next_record(ByteView& ciphertext, ByteView& record, Outgoing& out);
  [[nodiscard]] Status wait_for_input() const;
  [[nodiscard]] Status check_header(ByteView header, Outgoing& out);
  [[nodiscard]] Status read_record(ByteView record, std::span<std::uint8_t> plaintext, std::size_t& size,
                                   Outgoing& out);
  [[nodiscard]] Status take_content(std::uint8_t type, ByteView content, Outgoing& out);
  [[nodiscard]] Status take_alert(ByteView content, Outgoing& out);
  [[nodiscard]] Status take_handshake(ByteView content, Outgoing& out);
  [[nodiscard]] Status take_message_header(Outgoing& out);
  [[nodiscard]] Status take_key_update(std::uint8_t wish, Outgoing& out);
  [[nodiscard]] bool update_own_key(Outgoing& out);
  [[nodiscard]] Status refuse(std::uint8_t alert, int reason, Outgoing& out);
  void append_alert(std::uint8_t level, std::uint8_t alert, Outgoing& out);
  void append_record(ContentType type, ByteView content, Outgoing& out);

  TrafficKey read_key_;
  TrafficKey write_key_;
  bool is_client_;
  std::size_t most_content_;
  std::uint64_t octets_per_key_;
  std::uint64_t octets_of_key_ = 0;

  std::vector<std::uint8_t> begun_;  // a record that has not come as a whole
  std::vector<std::uint8_t> held_;   // content that was read and found no room
  // A message of the handshake that has not come as a whole: a KeyUpdate is no longer, and of a ticket only
  // its length is kept.
  std::array<std::uint8_t, 5> message_{};
  std::size_t message_bytes_ = 0;
  std::size_t ticket_bytes_ = 0;  // still to come
  int without_data_ = 0;          // records in a row
  bool owes_key_update_ = false;
  bool end_of_input_ = false;
  bool close_notify_came_ = false;
  bool close_notify_sent_ = false;
};

}  // namespace pgveil::tls
