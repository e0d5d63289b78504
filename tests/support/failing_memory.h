// Lets allocations fail. A test program that links failing_memory.cc has its operator new, which fails only while a test
// wants it to.
#pragma once

namespace pgveil::test {

// While one exists, the allocation after `allocations` others throws std::bad_alloc, and no other does.
class FailingAllocation {
 public:
  explicit FailingAllocation(int allocations);
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;

  // Whether that allocation was asked for.
  [[nodiscard]] static bool has_failed();
};

// While one exists, no allocation of this thread fails.
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

}  // namespace pgveil::test
