// Framing of every message after the startup packet: a type byte, then a length word that counts itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "protocol/bytes.h"
#include "protocol/decoded.h"

namespace pgveil::protocol {

inline constexpr std::size_t kMessageHeaderBytes = 5;
inline constexpr std::uint32_t kMinMessageLength = 4;

struct Message {
  char type = 0;
  ByteView body;   // without type and length
  ByteView whole;  // as it stood on the wire
};

// Decodes one message from the front of `in`, which moves past it only once the whole message is there. The
// views point into the bytes of `in`. bad_length: a length word below 4 or above `max_length`, answered as
// soon as the header is readable.
[[nodiscard]] Decoded<Message> decode_message(ByteReader& in, std::uint32_t max_length);

// Follows message boundaries through one direction of a session without keeping its bytes, so that an end may
// put an ErrorResponse where the peer expects a message. Costs a step per message, not per byte.
class BoundaryTracker {
 public:
  void follow(ByteView bytes);

  // True where the next byte begins a message.
  [[nodiscard]] bool at_boundary() const { return !lost_ && header_bytes_ == 0 && body_bytes_left_ == 0; }
  // True where a message has begun and not ended.
  [[nodiscard]] bool in_message() const { return !lost_ && !at_boundary(); }
  // The type of the last message of which the whole header has come; 0: none yet.
  [[nodiscard]] char last_type() const { return last_type_; }
  // Its size, header included.
  [[nodiscard]] std::uint64_t last_size() const { return last_size_; }
  // True once a length word below 4, or negative as the signed number that it is, has come: no boundary can
  // be trusted from there on.
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  [[nodiscard]] ByteView skip_whole_messages(ByteView bytes);
  void follow_parts(ByteView bytes);
  [[nodiscard]] std::size_t collect_header(ByteView bytes);
  void begin_body(std::span<const std::uint8_t, kMessageHeaderBytes> header);

  std::array<std::uint8_t, kMessageHeaderBytes> header_{};
  std::size_t header_bytes_ = 0;       // of an incomplete header
  std::uint64_t body_bytes_left_ = 0;  // of the message under way
  std::uint64_t last_size_ = 0;
  char last_type_ = 0;
  bool lost_ = false;
};

}  // namespace pgveil::protocol
