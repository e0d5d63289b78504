// Lets an allocation of this thread fail: out_of_memory_test.cc replaces operator new for the whole test
// program.
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

}  // namespace pgveil::test
