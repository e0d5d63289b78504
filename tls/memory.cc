#include "tls/memory.h"

#include <malloc.h>  // malloc_usable_size
#include <openssl/crypto.h>
#include <string.h>  // explicit_bzero: a write that the compiler does not remove

#include <cstdlib>

namespace pgveil::tls {
namespace {

constexpr std::size_t kLargeBytes = 1'024;

void* allocate_for_openssl(std::size_t size, const char* /*file*/, int /*line*/) {
  return std::malloc(size);
}

void* reallocate_for_openssl(void* place, std::size_t size, const char* /*file*/, int /*line*/) {
  return std::realloc(place, size);
}

void free_for_openssl(void* place, const char* /*file*/, int /*line*/) {
  if (place == nullptr) return;
  if (const std::size_t size = ::malloc_usable_size(place); size >= kLargeBytes) explicit_bzero(place, size);
  std::free(place);
}

}  // namespace

bool wipe_what_openssl_frees() {
  return CRYPTO_set_mem_functions(allocate_for_openssl, reallocate_for_openssl, free_for_openssl) == 1;
}

}  // namespace pgveil::tls
