// Counts allocations, and lets them fail. A test program that links failing_memory.cc has its operator new, which fails
// only while a test wants it to; one that links openssl_memory.cc too has its allocator for OpenSSL.
#pragma once

#include <cstddef>

namespace pgveil::test {

enum class Allocator { operator_new, openssl };

// While one exists, the allocation after `allocations` others of its kind fails, and no other does: operator new throws
// std::bad_alloc, OpenSSL's allocator returns nullptr. Only in this thread.
class FailingAllocation {
 public:
  explicit FailingAllocation(int allocations, Allocator kind = Allocator::operator_new);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // Whether that allocation was asked for.
  [[nodiscard]] bool has_failed() const;

 private:
  Allocator kind_;
};

// While one exists, operator new does not fail in this thread.
class SafeAllocations {
 public:
  SafeAllocations();
  ~SafeAllocations();
  SafeAllocations(const SafeAllocations&) = delete;
  SafeAllocations& operator=(const SafeAllocations&) = delete;

 private:
  int left_;
};

// The threads of workers: fails the allocation after `allocations` others, and all that follow or none of them.
enum class Failing { once, from_then_on };
void fail_workers(int allocations, Failing failing);
void fail_workers_no_more();

// How often any thread has called operator new, and how many bytes of that are not yet deleted.
[[nodiscard]] std::size_t news();
[[nodiscard]] std::size_t new_bytes();

// Counts an allocation of this kind in this thread; returns whether it is the one that is to fail.
[[nodiscard]] bool fails_here(Allocator kind);

}  // namespace pgveil::test
