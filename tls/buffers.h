// The buffers of a TLS connection that belong to the caller, and the result of a call of the engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pgveil::tls {

using ByteView = std::span<const std::uint8_t>;

// Returns the bytes of `text`, without a copy.
[[nodiscard]] inline ByteView bytes_in(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// The caller's memory for bytes to be sent. It is filled from the front.
class Outgoing {
 public:
  explicit Outgoing(std::span<std::uint8_t> memory) : memory_(memory) {}
  [[nodiscard]] ByteView written() const { return memory_.first(used_); }
  [[nodiscard]] std::size_t room() const { return memory_.size() - used_; }
  // Copies as many bytes of `bytes` as fit, and returns their number.
  std::size_t append(ByteView bytes);
  // Adds `size` bytes at the end, for the caller to fill, and returns them. There must be room for them.
  [[nodiscard]] std::span<std::uint8_t> extend(std::size_t size);
  // Removes the last `size` bytes.
  void take_back(std::size_t size) { used_ -= size; }
  void clear() { used_ = 0; }

 private:
  std::span<std::uint8_t> memory_;
  std::size_t used_ = 0;
};

// The result of a call of the engine, or of its record layer.
enum class EngineStatus {
  ready,       // handshake(): it is done; read(), write(): success, call again if there is more to do
  want_input,  // all ciphertext is consumed, and more is needed
  want_room,   // `out` is full: send it, then call again with the remaining bytes
  closed,      // the peer's close_notify has been received: the regular end
  failed,      // failure() has the reason; only the bytes in `out` (an alert) can still be sent
};

struct ReadResult {
  EngineStatus status;
  std::size_t size;  // bytes placed in `plaintext`; may be above 0 with every status
};

// The largest plaintext of a record, and the most that TLS adds to it (RFC 8446, 5.1 and 5.2).
inline constexpr std::size_t kMaxRecordPlaintext = 16'384;
inline constexpr std::size_t kMaxRecordExpansion = 256 + 5;
// The smallest allowed size of `out` after the handshake.
inline constexpr std::size_t kMinRoom = 64;

// Returns the size of read()'s `plaintext` that is enough to consume `ciphertext_size` bytes in one call.
[[nodiscard]] constexpr std::size_t plaintext_room(std::size_t ciphertext_size) {
  return ciphertext_size + kMaxRecordPlaintext;
}
// Returns the size of write()'s `out` that is enough to encrypt `plaintext_size` bytes in one call.
[[nodiscard]] constexpr std::size_t ciphertext_room(std::size_t plaintext_size) {
  return plaintext_size + (plaintext_size / kMaxRecordPlaintext + 2) * kMaxRecordExpansion;
}

}  // namespace pgveil::tls
