// The format of every message after the startup packet: a type byte, then a length word that includes itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "protocol/bytes.h"
#include "protocol/decoded.h"

namespace pgveil::protocol {

inline constexpr std::size_t kMessageHeaderBytes = 5;
inline constexpr std::uint32_t kMinMessageLength = 4;

struct Message {
  char type = 0;
  ByteView body;   // without type and length
  ByteView whole;  // as received
};

// Decodes one message from the front of `in`. Advances `in` only if the whole message is there. The views
// point into the bytes of `in`. Returns bad_length for a length word below 4 or above `max_length`, as soon
// as the header is complete.
[[nodiscard]] Decoded<Message> decode_message(ByteReader& in, std::uint32_t max_length);

// Appends a message of this type to `out`, whose body `write(ByteWriter&)` writes.
template <class Write>
void encode_message(char type, Bytes& out, const Write& write) {
  ByteWriter writer(out);
  writer.write_uint8(static_cast<std::uint8_t>(type));
  const std::size_t length = writer.begin_length();
  write(writer);
  writer.end_length(length);
}

// Follows the message boundaries of one direction of a session without storing its bytes. So an ErrorResponse
// can be inserted where the peer expects a message. The cost is per message, not per byte.
class BoundaryTracker {
 public:
  void follow(ByteView bytes) {
    follow(bytes, [](char, std::uint8_t) {});
  }
  // Calls on_message(type, last byte) for each complete message. The last byte belongs to the body, or to the length word
  // if the message has no body.
  template <class OnMessage>
  void follow(ByteView bytes, const OnMessage& on_message);

  // Returns true if the next byte begins a message.
  [[nodiscard]] bool at_boundary() const { return !lost_ && header_bytes_ == 0 && body_bytes_left_ == 0; }
  // Returns true if a message has begun and not ended.
  [[nodiscard]] bool in_message() const { return !lost_ && !at_boundary(); }
  // Returns the type of the last message with a complete header; 0: none yet.
  [[nodiscard]] char last_type() const { return last_type_; }
  // Returns the size of that message, header included.
  [[nodiscard]] std::uint64_t last_size() const { return last_size_; }
  // Returns true after a length word that is below 4 or negative as a signed number. Later boundaries are
  // unknown.
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  // Handles the next part of a message. Returns how many bytes it consumed.
  [[nodiscard]] std::size_t follow_part(ByteView bytes);
  [[nodiscard]] std::size_t collect_header(ByteView bytes);
  void begin_body(std::span<const std::uint8_t, kMessageHeaderBytes> header);

  std::array<std::uint8_t, kMessageHeaderBytes> header_{};
  std::size_t header_bytes_ = 0;       // of an incomplete header
  std::uint64_t body_bytes_left_ = 0;  // of the current message
  std::uint64_t last_size_ = 0;
  char last_type_ = 0;
  bool lost_ = false;
};

// Returns the length word of a message that begins with `bytes`, at least kMessageHeaderBytes of them.
[[nodiscard]] inline std::uint32_t message_length(ByteView bytes) {
  return std::uint32_t{bytes[1]} << 24 | std::uint32_t{bytes[2]} << 16 | std::uint32_t{bytes[3]} << 8 |
         std::uint32_t{bytes[4]};
}
[[nodiscard]] inline bool is_possible_length(std::uint32_t length) {
  return length >= kMinMessageLength && length <= std::numeric_limits<std::int32_t>::max();
}

template <class OnMessage>
void BoundaryTracker::follow(ByteView bytes, const OnMessage& on_message) {
  // Complete messages are the most common content of a read.
  if (at_boundary())
    while (bytes.size() >= kMessageHeaderBytes) {
      const std::uint32_t length = message_length(bytes);
      if (length >= bytes.size() || !is_possible_length(length)) break;
      last_type_ = static_cast<char>(bytes[0]);
      last_size_ = std::uint64_t{length} + 1;
      on_message(last_type_, bytes[length]);
      bytes = bytes.subspan(std::size_t{length} + 1);
    }
  while (!bytes.empty() && !lost_) {
    const std::size_t consumed = follow_part(bytes);
    if (at_boundary()) on_message(last_type_, bytes[consumed - 1]);
    bytes = bytes.subspan(consumed);
  }
}

}  // namespace pgveil::protocol
