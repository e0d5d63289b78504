// Counts allocations, makes them fail, and finds secrets in memory that is freed. A test program that links failing_memory.cc uses its operator new,
// which fails only if a test requests it. A test program that also links openssl_memory.cc uses its allocator
// for OpenSSL.
#pragma once

#include <cstddef>
#include <string_view>

namespace pgveil::test {

enum class Allocator { operator_new, openssl };

// While the object exists, one allocation of this thread fails: the first one after `allocations` others of
// the same kind. operator new throws std::bad_alloc, and OpenSSL's allocator returns nullptr.
class FailingAllocation {
 public:
  explicit FailingAllocation(int allocations, Allocator kind = Allocator::operator_new);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // Returns whether this allocation was requested and has failed.
  [[nodiscard]] bool has_failed() const;

 private:
  Allocator kind_;
};

// While the object exists, operator new does not fail in this thread.
class SafeAllocations {
 public:
  SafeAllocations();
  ~SafeAllocations();
  SafeAllocations(const SafeAllocations&) = delete;
  SafeAllocations& operator=(const SafeAllocations&) = delete;

 private:
  int left_;
};

// In the threads of workers, makes the first allocation after `allocations` others fail, alone or with all
// later ones.
enum class Failing { once, from_then_on };
void fail_workers(int allocations, Failing failing);
void fail_workers_no_more();

// While the object exists, counts the blocks of memory with a copy of `secret` that this thread frees with operator delete.
class FreedCopies {
 public:
  explicit FreedCopies(std::string_view secret);
  ~FreedCopies();
  FreedCopies(const FreedCopies&) = delete;
  FreedCopies& operator=(const FreedCopies&) = delete;

  [[nodiscard]] std::size_t count() const;
};

// The number of calls of operator new in all threads, and the number of bytes that are not deleted yet.
[[nodiscard]] std::size_t news();
[[nodiscard]] std::size_t new_bytes();

// Counts an allocation of this kind in this thread. Returns whether it must fail.
[[nodiscard]] bool fails_here(Allocator kind);

}  // namespace pgveil::test
