// What a session has read and not yet passed on, before its relay.
#pragma once

#include <cstddef>
#include <span>

#include "protocol/bytes.h"
#include "tls/digest.h"

namespace pgveil::proxy {

// More than a startup packet, less than a flood.
inline constexpr std::size_t kStartupReadBytes = 16'384;

// Drops what `reader` has consumed from the front of `bytes`.
inline void consume(protocol::Bytes& bytes, const protocol::ByteReader& reader) {
  bytes.erase(bytes.begin(), bytes.end() - static_cast<std::ptrdiff_t>(reader.remaining()));
}

// Frees the memory; what a client sent in its login may be a password.
inline void wipe_away(protocol::Bytes& bytes) {
  tls::wipe(std::span(bytes));
  bytes = protocol::Bytes();  // {} would keep it
}

}  // namespace pgveil::proxy
