#include "tests/support/openssl_memory.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "tests/support/failing_memory.h"

namespace pgveil::test {
namespace {

std::atomic<std::size_t> bytes = 0;

// The size of each block is stored before the block, in a header that keeps the block aligned.
constexpr std::size_t kHeader = alignof(std::max_align_t);

std::size_t size_of(void* place) {
  std::size_t size = 0;
  std::memcpy(&size, static_cast<std::byte*>(place) - kHeader, sizeof size);
  return size;
}

void* allocate(std::size_t size, const char* /*file*/, int /*line*/) {
  if (fails_here(Allocator::openssl)) return nullptr;
  auto* block = static_cast<std::byte*>(std::malloc(kHeader + size));
  if (block == nullptr) return nullptr;
  std::memcpy(block, &size, sizeof size);
  bytes += size;
  return block + kHeader;
}

void release(void* place, const char* /*file*/, int /*line*/) {
  if (place == nullptr) return;
  bytes -= size_of(place);
  std::free(static_cast<std::byte*>(place) - kHeader);
}

void* reallocate(void* place, std::size_t size, const char* file, int line) {
  if (place == nullptr) return allocate(size, file, line);
  void* moved = size == 0 ? nullptr : allocate(size, file, line);
  if (size != 0 && moved == nullptr) return nullptr;
  if (moved != nullptr) std::memcpy(moved, place, std::min(size, size_of(place)));
  release(place, file, line);
  return moved;
}

const bool is_counted = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;

}  // namespace

bool openssl_is_counted() {
  return is_counted;
}

std::size_t openssl_bytes() {
  return bytes;
}

}  // namespace pgveil::test
