#include "protocol/message.h"

#include <algorithm>
#include <limits>

namespace pgveil::protocol {

Decoded<Message> decode_message(ByteReader& in, std::uint32_t max_length) {
  ByteReader ahead = in;
  const auto type = ahead.read_uint8();
  const auto length = ahead.read_uint32();
  if (!type || !length) return std::nullopt;
  if (*length < kMinMessageLength || *length > max_length) return tl::unexpected(DecodeError::bad_length);
  const auto body = ahead.read_bytes(*length - kMinMessageLength);
  if (!body) return std::nullopt;

  const ByteView whole = in.rest().first(kMessageHeaderBytes + body->size());
  in = ahead;
  return Message{static_cast<char>(*type), *body, whole};
}

namespace {

std::uint32_t length_in(ByteView header) {
  return std::uint32_t{header[1]} << 24 | std::uint32_t{header[2]} << 16 | std::uint32_t{header[3]} << 8 |
         std::uint32_t{header[4]};
}

bool is_possible(std::uint32_t length) {
  return length >= kMinMessageLength && length <= std::numeric_limits<std::int32_t>::max();
}

}  // namespace

// Skips complete messages, the most common content of a read. Returns the bytes after them.
inline ByteView BoundaryTracker::skip_whole_messages(ByteView bytes) {
  while (bytes.size() >= kMessageHeaderBytes) {
    const std::uint32_t length = length_in(bytes);
    if (length >= bytes.size() || !is_possible(length)) break;
    last_type_ = static_cast<char>(bytes[0]);
    last_size_ = std::uint64_t{length} + 1;
    bytes = bytes.subspan(std::size_t{length} + 1);
  }
  return bytes;
}

void BoundaryTracker::follow(ByteView bytes) {
  if (at_boundary()) bytes = skip_whole_messages(bytes);
  if (!bytes.empty()) follow_parts(bytes);
}

void BoundaryTracker::follow_parts(ByteView bytes) {
  while (!bytes.empty() && !lost_) {
    if (body_bytes_left_ > 0) {
      const auto skipped = std::min<std::uint64_t>(body_bytes_left_, bytes.size());
      body_bytes_left_ -= skipped;
      bytes = bytes.subspan(static_cast<std::size_t>(skipped));
    } else if (header_bytes_ == 0 && bytes.size() >= kMessageHeaderBytes) {
      begin_body(bytes.first<kMessageHeaderBytes>());
      bytes = bytes.subspan(kMessageHeaderBytes);
    } else {
      bytes = bytes.subspan(collect_header(bytes));
    }
  }
}

// Stores a part of a header that is split between two reads. Returns how many bytes it consumed.
std::size_t BoundaryTracker::collect_header(ByteView bytes) {
  const std::size_t taken = std::min(kMessageHeaderBytes - header_bytes_, bytes.size());
  std::copy_n(bytes.begin(), taken, header_.begin() + header_bytes_);
  header_bytes_ += taken;
  if (header_bytes_ == kMessageHeaderBytes) {
    header_bytes_ = 0;
    begin_body(header_);
  }
  return taken;
}

void BoundaryTracker::begin_body(std::span<const std::uint8_t, kMessageHeaderBytes> header) {
  const std::uint32_t length = length_in(header);
  if (!is_possible(length)) {
    lost_ = true;
    return;
  }
  body_bytes_left_ = length - kMinMessageLength;
  last_type_ = static_cast<char>(header[0]);
  last_size_ = std::uint64_t{length} + 1;
}

}  // namespace pgveil::protocol
