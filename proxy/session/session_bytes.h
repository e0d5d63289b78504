// Bytes that a session has read and not yet passed on, before its relay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "protocol/bytes.h"
#include "tls/digest.h"

namespace pgveil::proxy {

// The maximum size of one read before the login. It is larger than a startup packet, and limits the memory that an
// unauthenticated client can use.
inline constexpr std::size_t kStartupReadBytes = 16'384;

// Drops what `reader` has consumed from the front of `bytes`.
inline void consume(protocol::Bytes& bytes, const protocol::ByteReader& reader) {
  bytes.erase(bytes.begin(), bytes.end() - static_cast<std::ptrdiff_t>(reader.remaining()));
}

// Wipes and frees the memory: bytes that a client sent in its login may be a password.
inline void wipe_away(protocol::Bytes& bytes) {
  tls::wipe(std::span(bytes));
  bytes = protocol::Bytes();  // "= {}" would keep the memory
}

// Bytes that a client has sent in its login. They may contain a password, so the memory is wiped before it is freed.
class UnreadBytes : public protocol::Bytes {
 public:
  UnreadBytes() = default;
  explicit UnreadBytes(protocol::Bytes&& bytes) noexcept : protocol::Bytes(std::move(bytes)) {}
  UnreadBytes(UnreadBytes&& other) noexcept = default;
  UnreadBytes& operator=(UnreadBytes&& other) noexcept {
    wipe_away(*this);
    protocol::Bytes::operator=(std::move(other));
    return *this;
  }
  ~UnreadBytes() { tls::wipe(std::span<std::uint8_t>(*this)); }
};

}  // namespace pgveil::proxy
