#include "protocol/message.h"

#include <algorithm>

namespace pgveil::protocol {

Decoded<Message> decode_message(ByteReader& in, std::uint32_t max_length) {
  if (in.remaining() < kMessageHeaderBytes) return std::nullopt;
  const std::uint32_t length = message_length(in.rest());
  if (length < kMinMessageLength || length > max_length) return tl::unexpected(DecodeError::bad_length);
  const auto whole = in.read_bytes(std::size_t{length} + 1);
  if (!whole) return std::nullopt;
  return Message{static_cast<char>(whole->front()), whole->subspan(kMessageHeaderBytes), *whole};
}

std::size_t BoundaryTracker::follow_part(ByteView bytes) {
  if (body_bytes_left_ > 0) {
    const auto skipped = std::min<std::uint64_t>(body_bytes_left_, bytes.size());
    body_bytes_left_ -= skipped;
    return static_cast<std::size_t>(skipped);
  }
  if (header_bytes_ > 0 || bytes.size() < kMessageHeaderBytes) return collect_header(bytes);
  begin_body(bytes.first<kMessageHeaderBytes>());
  return kMessageHeaderBytes;
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
  const std::uint32_t length = message_length(header);
  if (!is_possible_length(length)) {
    lost_ = true;
    return;
  }
  body_bytes_left_ = length - kMinMessageLength;
  last_type_ = static_cast<char>(header[0]);
  last_size_ = std::uint64_t{length} + 1;
}

}  // namespace pgveil::protocol
