// How a stream is cut on its way, where a fuzzer says that the cuts make no difference.
#pragma once

#include <algorithm>
#include <cstddef>

#include "protocol/bytes.h"

namespace pgveil::fuzz {

// Pieces of 1 to 256 bytes, over and over.
class Cuts {
 public:
  // Every byte alone.
  Cuts() = default;
  // As the bytes of `pattern` say; it must outlive the cuts.
  explicit Cuts(protocol::ByteView pattern) : pattern_(pattern) {}

  // The size of the next piece of a stream of which `left` bytes, at least one, are to come.
  std::size_t next(std::size_t left) {
    if (pattern_.empty()) return 1;
    return std::min<std::size_t>(left, pattern_[place_++ % pattern_.size()] + std::size_t{1});
  }

 private:
  protocol::ByteView pattern_;
  std::size_t place_ = 0;
};

}  // namespace pgveil::fuzz
