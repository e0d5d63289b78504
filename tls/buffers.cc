#include "tls/buffers.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace pgveil::tls {

std::size_t Outgoing::append(ByteView bytes) {
  const std::size_t size = std::min(bytes.size(), room());
  std::memcpy(memory_.data() + used_, bytes.data(), size);
  used_ += size;
  return size;
}

std::span<std::uint8_t> Outgoing::extend(std::size_t size) {
  assert(size <= room());
  used_ += size;
  return memory_.subspan(used_ - size, size);
}

}  // namespace pgveil::tls
