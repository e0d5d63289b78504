// The bytes of a TLS connection as they pass between the caller's memory and the engine, and how far a call
// got.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pgveil::tls {

using ByteView = std::span<const std::uint8_t>;

// The caller's memory for what is to be sent, filled from the front.
class Outgoing {
 public:
  explicit Outgoing(std::span<std::uint8_t> memory) : memory_(memory) {}
  [[nodiscard]] ByteView written() const { return memory_.first(used_); }
  [[nodiscard]] std::size_t room() const { return memory_.size() - used_; }
  // Copies as much of `bytes` as fits; returns how much that is.
  std::size_t append(ByteView bytes);
  // Lengthens what is written by `size` bytes, of which there must be room, for the caller to fill.
  [[nodiscard]] std::span<std::uint8_t> extend(std::size_t size);
  // Shortens what is written by its last `size` bytes.
  void take_back(std::size_t size) { used_ -= size; }
  void clear() { used_ = 0; }

 private:
  std::span<std::uint8_t> memory_;
  std::size_t used_ = 0;
};

// What a call of an engine, or of its record layer, has come to.
enum class EngineStatus {
  ready,       // handshake(): it is done. read(), write(): went well, go on when there is more to do
  want_input,  // all ciphertext is consumed and more is needed
  want_room,   // `out` is full: send it and call again with the rest
  closed,      // the peer's close_notify has come: the regular end
  failed,      // failure() says why; nothing but sending what is in `out` (an alert) can be done any more
};

struct ReadResult {
  EngineStatus status;
  std::size_t size;  // bytes placed in `plaintext`; may be above 0 with every status
};

// The largest plaintext of a record, and what TLS adds to one at most (RFC 8446, 5.1 and 5.2).
inline constexpr std::size_t kMaxRecordPlaintext = 16'384;
inline constexpr std::size_t kMaxRecordExpansion = 256 + 5;
// What `out` must hold at least once the handshake is done.
inline constexpr std::size_t kLeastRoom = 64;

// What `plaintext` of read() must hold at least for `ciphertext_size` bytes to be consumed in one call.
[[nodiscard]] constexpr std::size_t plaintext_room(std::size_t ciphertext_size) {
  return ciphertext_size + kMaxRecordPlaintext;
}
// What `out` of write() must hold at least for `plaintext_size` bytes to be taken in one call.
[[nodiscard]] constexpr std::size_t ciphertext_room(std::size_t plaintext_size) {
  return plaintext_size + (plaintext_size / kMaxRecordPlaintext + 2) * kMaxRecordExpansion;
}

}  // namespace pgveil::tls
