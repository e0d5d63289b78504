#include "tests/support/failing_memory.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>

namespace {

constexpr int kNever = -1;
std::atomic<int> left_until_failure{kNever};  // allocations of a worker's thread
std::atomic<bool> fails_once{false};          // instead of all that follow
thread_local int own_left = kNever;           // of FailingAllocation

bool fails_now() {
  if (own_left != kNever && own_left-- == 0) return true;  // and is kNever then
  if (left_until_failure == kNever) return false;
  std::array<char, 16> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  if (!std::string_view(name.data()).starts_with("worker-")) return false;
  int left = left_until_failure;
  while (left > 0 && !left_until_failure.compare_exchange_weak(left, left - 1)) {
  }
  if (left != 0) return false;
  if (fails_once) left_until_failure = kNever;
  return true;
}

}  // namespace

void* operator new(std::size_t size) {
  void* memory = fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace pgveil::test {

FailingAllocation::FailingAllocation(int allocations) {
  own_left = allocations;
}

FailingAllocation::~FailingAllocation() {
  own_left = kNever;
}

bool FailingAllocation::has_failed() {
  return own_left == kNever;
}

SafeAllocations::SafeAllocations() : left_(std::exchange(own_left, kNever)) {}

SafeAllocations::~SafeAllocations() {
  own_left = left_;
}

void fail_workers(int allocations, Failing failing) {
  fails_once = failing == Failing::once;
  left_until_failure = allocations;
}

void fail_workers_no_more() {
  left_until_failure = kNever;
}

}  // namespace pgveil::test
