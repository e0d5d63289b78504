// Counts what OpenSSL allocates. A test program that links openssl_memory.cc, and failing_memory.cc, has its allocator
// for OpenSSL, which FailingAllocation lets fail.
#pragma once

#include <cstddef>

namespace pgveil::test {

// Whether OpenSSL has taken the allocator: it does so only before its first allocation, hence before main().
[[nodiscard]] bool openssl_is_counted();

// What OpenSSL has allocated and not yet freed.
[[nodiscard]] std::size_t openssl_bytes();

}  // namespace pgveil::test
