// The pieces in which a stream arrives, for fuzzers that check that the pieces make no difference.
#pragma once

#include <algorithm>
#include <cstddef>

#include "protocol/bytes.h"

namespace pgveil::fuzz {

// Pieces of 1 to 256 bytes; their sizes are repeated.
class Cuts {
 public:
  // Pieces of one byte.
  Cuts() = default;
  // The sizes are the bytes of `pattern` plus 1. `pattern` must outlive the object.
  explicit Cuts(protocol::ByteView pattern) : pattern_(pattern) {}

  // Returns the size of the next piece of a stream with `left` remaining bytes, at least one.
  std::size_t next(std::size_t left) {
    if (pattern_.empty()) return 1;
    return std::min<std::size_t>(left, pattern_[place_++ % pattern_.size()] + std::size_t{1});
  }

 private:
  protocol::ByteView pattern_;
  std::size_t place_ = 0;
};

}  // namespace pgveil::fuzz
