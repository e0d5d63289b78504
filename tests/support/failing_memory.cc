#include "tests/support/failing_memory.h"

#include <malloc.h>  // malloc_usable_size
#include <pthread.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>

namespace {

constexpr int kNever = -1;
std::atomic<int> left_until_failure{kNever};  // allocations in the threads of workers
std::atomic<bool> fails_once{false};          // false: all later allocations fail, too
// For FailingAllocation: the number of allocations of this thread until one fails, by kind.
thread_local std::array<int, 2> own_left{kNever, kNever};

// For FreedCopies, of this thread; empty: no secret is searched for.
thread_local std::string_view searched_secret;
thread_local std::size_t count_of_freed_copies = 0;

void search(const void* memory, std::size_t size) {
  if (searched_secret.empty() || memory == nullptr) return;
  const std::string_view freed(static_cast<const char*>(memory), size);
  if (freed.find(searched_secret) != std::string_view::npos) ++count_of_freed_copies;
}

std::atomic<std::size_t> count_of_news{0};
std::atomic<std::size_t> bytes_of_news{0};  // that were not deleted

int& own_left_of(pgveil::test::Allocator kind) {
  return own_left.at(static_cast<std::size_t>(kind));
}

bool fails_now() {
  if (pgveil::test::fails_here(pgveil::test::Allocator::operator_new)) return true;
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

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++count_of_news;
  void* memory = fails_now() ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory != nullptr) bytes_of_news += ::malloc_usable_size(memory);
  return memory;
}

void* operator new(std::size_t size) {
  void* memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void operator delete(void* memory) noexcept {
  const std::size_t size = ::malloc_usable_size(memory);
  search(memory, size);
  bytes_of_news -= size;
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*size*/) noexcept {
  operator delete(memory);
}

namespace pgveil::test {

bool fails_here(Allocator kind) {
  int& left = own_left_of(kind);
  return left != kNever && left-- == 0;  // after the failure it is kNever
}

FailingAllocation::FailingAllocation(int allocations, Allocator kind) : kind_(kind) {
  own_left_of(kind_) = allocations;
}

FailingAllocation::~FailingAllocation() {
  own_left_of(kind_) = kNever;
}

bool FailingAllocation::has_failed() const {
  return own_left_of(kind_) == kNever;
}

SafeAllocations::SafeAllocations() : left_(std::exchange(own_left_of(Allocator::operator_new), kNever)) {}

SafeAllocations::~SafeAllocations() {
  own_left_of(Allocator::operator_new) = left_;
}

FreedCopies::FreedCopies(std::string_view secret) {
  searched_secret = secret;
  count_of_freed_copies = 0;
}

FreedCopies::~FreedCopies() {
  searched_secret = {};
}

std::size_t FreedCopies::count() const {
  return count_of_freed_copies;
}

std::size_t news() {
  return count_of_news;
}

std::size_t new_bytes() {
  return bytes_of_news;
}

void fail_workers(int allocations, Failing failing) {
  fails_once = failing == Failing::once;
  left_until_failure = allocations;
}

void fail_workers_no_more() {
  left_until_failure = kNever;
}

}  // namespace pgveil::test
