// Counts the allocations of OpenSSL. A test program that links openssl_memory.cc and failing_memory.cc uses
// its allocator for OpenSSL, and FailingAllocation can make it fail.
#pragma once

#include <cstddef>

namespace pgveil::test {

// Returns whether OpenSSL uses the allocator. OpenSSL accepts it only before its first allocation, hence
// before main().
[[nodiscard]] bool openssl_is_counted();

// The number of bytes that OpenSSL has allocated and not freed yet.
[[nodiscard]] std::size_t openssl_bytes();

}  // namespace pgveil::test
